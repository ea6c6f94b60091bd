import { once } from "node:events"
import { connect } from "node:net"
import { type MongoServer, randomId, startMongoServer } from "@mqtt-trio/testing"
import { BSON, type Db, type Document, MongoClient } from "mongodb"
import { beforeAll, describe, expect, test } from "vitest"
import { MongoWay } from "../support/mongo-way.js"
import { hasMortalServer } from "../support/mortal-database.js"
import type { DeathPoint } from "../support/mortal-store.js"

/** What a broker writes: commits, the lease, two writes of a fold, the removal of what is folded. */
const WRITES: readonly Document[] = [
  insertion("journal", "1/1"),
  insertion("broker", "lease"),
  insertion("journal", "1/2"),
  insertion("packets", "1"),
  { update: "logs", updates: [{ q: { _id: "1" }, u: { $set: { last: 1 } }, upsert: true }] },
  removal("1/1", "1/2"),
]

function insertion(collection: string, _id: string): Document {
  return { insert: collection, documents: [{ _id }] }
}

function removal(...keys: string[]): Document {
  return { delete: "journal", deletes: [{ q: { _id: { $in: keys } }, limit: 0 }] }
}

function messageOf(request: number, command: Document): Buffer {
  const body = BSON.serialize(command)
  const head = Buffer.alloc(21)
  for (const [n, value] of [head.length + body.length, request, 0, 2013].entries()) head.writeInt32LE(value, 4 * n)
  return Buffer.concat([head, body])
}

/** Sends commands, each when the one before is answered; returns how many were, up to `dead`. */
async function send(
  port: number,
  database: string,
  { commands, dead }: { commands: readonly Document[]; dead?: Promise<void> },
): Promise<number> {
  const socket = connect(port, "127.0.0.1")
  let answered = 0
  for (const [n, command] of commands.entries()) {
    socket.write(messageOf(n, { ...command, $db: database }))
    const died = await Promise.race([once(socket, "data").then(() => false), dead?.then(() => true) ?? new Promise<never>(() => {})])
    if (died) break
    answered++
  }
  socket.destroy()
  return answered
}

/** All that is in a database but the lease. */
async function contents(db: Db): Promise<string> {
  const names = ["journal", "packets", "logs"]
  const found = await Promise.all(names.map((name) => db.collection(name).find().sort({ _id: 1 }).toArray()))
  return found.flatMap((some, n) => some.map(({ _id }) => `${names[n]} ${String(_id)}`)).join(", ")
}

describe.skipIf(!hasMortalServer())("the way on which a broker dies", () => {
  let server: MongoServer
  let client: MongoClient

  beforeAll(async () => {
    server = await startMongoServer()
    client = await MongoClient.connect(server.url)
    return () => client.close()
  })

  /** Writes until it dies: how many writes were answered, what the server has then, and later. */
  async function die(at: DeathPoint, nth: number, lost = false): Promise<{ answered: number; has: string; later: string }> {
    const way = await MongoWay.to(server.port)
    const name = randomId()
    const dead = new Promise<void>((resolve) => way.arm({ at, nth }, resolve))
    const answered = await send(way.port, name, { commands: WRITES, dead })
    const has = await contents(client.db(name))
    if (lost) way.lose()
    way.open()
    // as the next owner does: it closes the journal, serves, folds
    await send(way.port, name, { commands: [insertion("journal", "2/1")] })
    await way.reached("serving")
    await send(way.port, name, { commands: Array.from({ length: 3 }, () => removal("2/1")) })
    return { answered, has, later: await contents(client.db(name)) }
  }

  test.each<{ at: DeathPoint; nth: number; answered: number; has: string; later: string }>([
    { at: "before", nth: 2, answered: 2, has: "journal 1/1", later: "journal 1/1, journal 1/2" },
    { at: "torn", nth: 1, answered: 0, has: "", later: "journal 1/1" },
    { at: "after", nth: 2, answered: 2, has: "journal 1/1, journal 1/2", later: "journal 1/1, journal 1/2" },
    { at: "fold-before", nth: 1, answered: 3, has: "journal 1/1, journal 1/2", later: "journal 1/1, journal 1/2, packets 1" },
    {
      at: "fold-after",
      nth: 2,
      answered: 4,
      has: "journal 1/1, journal 1/2, packets 1, logs 1",
      later: "journal 1/1, journal 1/2, packets 1, logs 1",
    },
    { at: "switch-before", nth: 1, answered: 5, has: "journal 1/1, journal 1/2, packets 1, logs 1", later: "packets 1, logs 1" },
    { at: "switch-after", nth: 1, answered: 5, has: "packets 1, logs 1", later: "packets 1, logs 1" },
  ])("$at $nth: the server has what passed, and later what was on its way", async ({ at, nth, ...expected }) => {
    expect(await die(at, nth)).toEqual(expected)
  })

  test.each<DeathPoint>(["before", "torn"])("%s: what is lost never arrives", async (at) => {
    expect(await die(at, 1, true)).toEqual({ answered: 0, has: "", later: "" })
  })
})
