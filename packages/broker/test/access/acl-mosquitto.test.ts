import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { hasMosquitto, startMosquitto, temporaryFolder } from "@mqtt-trio/testing"
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { readAclFile } from "../../src/access/rights/acl-file.js"
import { isReserved } from "../../src/access/rights/reserved-topics.js"
import { Peer } from "../support/peer.js"
import { readPublish } from "../support/read.js"
import { packet, publish } from "../support/wire.js"

/** A user who may all, whatever the patterns say; no generated line is about it. */
const ADMIN = "-admin"
const ALL = `user ${ADMIN}\ntopic #\ntopic $a/#\ntopic $SYS/#\n`
const USERS = [undefined, "a", "b", "ä b", "a/b", "a+", "#", "$a", "%c", ""]
const CLIENTS = ["b", "c", "c/a", "c#", "$a", "%u"]

const LEVEL = fc.constantFrom("a", "a", "b", "c", "", "+", "+", "ä b", "%u", "%c", "x%c", "%u%c", "%%c", "$a")
const FILTER = fc
  .tuple(fc.array(LEVEL, { minLength: 1, maxLength: 3 }), fc.integer({ min: 0, max: 2 }))
  .map(([levels, all]) => [...levels, ...(all === 0 ? ["#"] : [])].join("/"))
  .filter((filter) => filter.trim() !== "" && filter !== "#")
const RULE = fc
  .tuple(fc.constantFrom("topic", "topic", "topic", "pattern"), fc.constantFrom("read", "write", "readwrite", "deny"), FILTER)
  .map((words) => words.join(" "))
const SECTION = fc
  .tuple(fc.constantFrom(...USERS.filter((user) => user !== undefined && user !== "")), fc.array(RULE, { minLength: 1, maxLength: 4 }))
  .map(([user, rules]) => [`user  ${user}`, ...rules].join("\n"))
const FILE = fc
  .tuple(fc.array(RULE, { maxLength: 4 }), fc.array(SECTION, { minLength: 4, maxLength: 14 }))
  .map(([anonymous, sections]) => [...anonymous, ...sections].join("\n"))

const NAME = fc.constantFrom("a", "a", "b", "c", "", "ä b", "xc", "xb", "$a", "%c", "%u", "%b", "ab", "bc", "a/b", "c/a")
const TOPIC = fc
  .array(NAME, { minLength: 1, maxLength: 4 })
  .map((levels) => levels.join("/"))
  .filter((topic) => topic !== "")

/** Who may receive and publish which of the topics, as lines. */
type Table = string[]

async function connected(port: number, clientId: string, user: string | undefined): Promise<Peer> {
  const peer = new Peer(port, 4)
  peer.send(packet(0x10, "MQTT", [4, user === undefined ? 2 : 0x82, 0, 0], clientId, ...(user === undefined ? [] : [user])))
  expect((await peer.next()).toString("hex")).toBe("20020000")
  return peer
}

function message(topic: string): Buffer {
  return publish(4, { topic, payload: "x" })
}

function topicsIn(packets: readonly Buffer[]): Set<string> {
  return new Set(packets.map((one) => readPublish(one, 4).topic))
}

/** What mosquitto does: each client publishes to every topic, and gets what the admin publishes to every topic. */
async function asMosquitto(file: string, topics: readonly string[]): Promise<Table> {
  const mosquitto = await startMosquitto(["allow_anonymous true", "set_tcp_nodelay true", `acl_file ${file}`])
  const everything: [string, number][] = [
    ["#", 0],
    ["$a/#", 0],
  ]
  const admin = await connected(mosquitto.port, ADMIN, ADMIN)
  await admin.subscribe(...everything)
  const packets = topics.map(message)
  const table: Table = []
  for (const user of USERS)
    for (const clientId of CLIENTS) {
      const peer = await connected(mosquitto.port, clientId, user)
      peer.send(...packets)
      await peer.settled()
      const written = topicsIn(await admin.settled())
      await peer.subscribe(...everything)
      admin.send(...packets)
      await admin.settled()
      const read = topicsIn(await peer.settled())
      table.push(...rows({ user, clientId, topics, mayRead: (topic) => read.has(topic), mayWrite: (topic) => written.has(topic) }))
      peer.cut()
    }
  await mosquitto.stop()
  return table
}

function asHere(file: string, topics: readonly string[]): Table {
  const rules = readAclFile(file)
  return USERS.flatMap((user) =>
    CLIENTS.flatMap((clientId) => {
      const permissions = rules.permissions({ user, clientId })
      const [mayRead, mayWrite] = [(topic: string) => permissions.mayRead(topic), (topic: string) => permissions.mayWrite(topic)]
      return rows({ user, clientId, topics, mayRead, mayWrite })
    }),
  )
}

interface Client {
  user: string | undefined
  clientId: string
  topics: readonly string[]
  mayRead: (topic: string) => boolean
  mayWrite: (topic: string) => boolean
}

function rows({ user, clientId, topics, mayRead, mayWrite }: Client): Table {
  return topics.map((topic) => {
    const may = [...(mayRead(topic) ? ["reads"] : []), ...(mayWrite(topic) ? ["writes"] : [])].join(" and ")
    return `user ${JSON.stringify(user)} client ${JSON.stringify(clientId)} ${may || "has nothing of"} ${topic}`
  })
}

describe.runIf(hasMosquitto())("mosquitto with the same ACL file", () => {
  const seed = process.env["CI"] ? 1 : Math.floor(Math.random() * 2 ** 31)
  const files = fc.sample(FILE, { numRuns: 6, seed })
  const topics = [...new Set(fc.sample(TOPIC, { numRuns: 200, seed }))].slice(0, 60)

  const answers = new Set<string>()

  test.each(files.map((content, n) => [n, content] as const))(
    `lets the same through, generated file %i of seed ${seed}`,
    { timeout: 60_000 },
    async (_, content) => {
      const file = join(temporaryFolder(), "acl")
      writeFileSync(file, `${content}\n${ALL}`)
      const expected = await asMosquitto(file, topics)
      const here = asHere(file, topics)
      expect({ content, differ: expected.flatMap((row, n) => (row === here[n] ? [] : [[row, here[n]]])) }).toEqual({ content, differ: [] })
      for (const row of expected) answers.add(row.includes("has nothing of") ? "nothing" : "something")
    },
  )

  test("both kinds of answer were among them", () => expect(answers).toEqual(new Set(["nothing", "something"])))

  test("lets clients publish the same of $SYS/#, whatever the file says", async () => {
    const state = ["x", "", "ä b"].map((name) => `$SYS/broker/connection/${name}/state`)
    const others = [
      "$SYS",
      "$SYS/",
      "$SYS/x",
      "$SYS/broker/connection/state",
      "$SYS/broker/connection/x/y/state",
      "$SYS/broker/connection/x/state/y",
    ]
    const file = join(temporaryFolder(), "acl")
    writeFileSync(file, ALL)
    const mosquitto = await startMosquitto(["allow_anonymous true", "sys_interval 0", `acl_file ${file}`])
    const [reader, writer] = [await connected(mosquitto.port, "r", ADMIN), await connected(mosquitto.port, "w", ADMIN)]
    await reader.subscribe(["$SYS/#", 0])
    await reader.settled()
    writer.send(...[...state, ...others].map(message))
    await writer.settled()
    const passed = topicsIn(await reader.settled())
    expect([...passed]).toEqual([...state, ...others].filter((topic) => !isReserved(topic)))
    expect(passed.size).toBe(3)
  })
})
