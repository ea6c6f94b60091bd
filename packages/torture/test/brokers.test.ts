import { join } from "node:path"
import { freePort, temporaryFolder, waitFor } from "@mqtt-trio/testing"
import { expect, onTestFinished, test } from "vitest"
import { Brokers } from "../src/brokers.js"
import { firstToAccept } from "../src/foreground-command.js"
import { TorturedBroker } from "../src/tortured-broker.js"

const REPLACED = 12

/** Serves while a file says so; takes it when nobody touched it for 300 ms. One that was replaced ends with the code. */
const STANDS_BY = `
  const { readFileSync, statSync, utimesSync, writeFileSync } = require("node:fs")
  const [file, port, code] = process.argv.slice(1)
  const isTaken = () => Date.now() - (statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0) < 300
  let serves = false
  setInterval(() => {
    if (serves && readFileSync(file, "utf8") !== port) process.exit(Number(code))
    if (serves) return utimesSync(file, new Date(), new Date())
    if (isTaken()) return
    serves = true
    writeFileSync(file, port)
    require("node:net").createServer().listen(Number(port), "127.0.0.1")
  }, 20)
`

interface Started {
  brokers: Brokers
  ports: number[]
  all: TorturedBroker[]
}

/** Two of them, the first one serves. */
async function start(code: number, over = (): void => {}, script = STANDS_BY): Promise<Started> {
  const file = join(temporaryFolder(), "owner")
  const ports = [await freePort(), await freePort()]
  const make = (port = 0, does = STANDS_BY): TorturedBroker => {
    const command = [process.execPath, "-e", does, file, String(port), String(code)] as const
    return new TorturedBroker({ host: "127.0.0.1", port }, command)
  }
  const [first, second] = [make(ports[0]), make(ports[1], script)]
  const brokers = new Brokers([first, second], { replacedExitCode: REPLACED, over })
  onTestFinished(() => brokers.end("SIGKILL"))
  await brokers.start()
  return { brokers, ports, all: [first, second] }
}

test("the one that serves is killed: clients are sent to the other one, then back", async () => {
  const seen: number[] = []
  const { brokers, ports } = await start(REPLACED, () => seen.push(brokers.address.port))
  await brokers.signal("SIGKILL")
  expect(brokers.address.port).toBe(ports[1])
  await brokers.signal("SIGKILL")
  expect(brokers.address.port).toBe(ports[0])
  // whoever is told still has the old address
  expect(seen).toEqual(ports)
  expect([brokers.takeOvers, brokers.hasEnded]).toEqual([2, false])
  expect(brokers.longestTakeOverMs).toBeGreaterThan(200)
})

test.each([
  [REPLACED, undefined],
  [0, "it ended with 0"],
])("it sleeps until the other one serves, and ends with exit code %i when it wakes: %s", async (code, wrong) => {
  const { brokers, ports } = await start(code)
  const sleeper = await brokers.putToSleep()
  expect(brokers.address.port).toBe(ports[1])
  expect(await brokers.wake(sleeper)).toBe(wrong)
})

/** The first one is away until the other one serves. */
async function nap([first, second]: readonly TorturedBroker[]): Promise<void> {
  if (!first || !second) return
  first.sleep()
  await firstToAccept([second], () => undefined)
  await first.wake(5000)
}

test("it was replaced unasked: clients are sent to the other one", async () => {
  const { brokers, ports, all } = await start(REPLACED)
  await nap(all)
  await waitFor(() => brokers.takeOvers === 1, { what: "the take-over to be seen" })
  expect([brokers.address.port, brokers.hasEnded]).toEqual([ports[1], false])
})

test("one that ended by itself is told from one that was replaced", async () => {
  const { brokers, all } = await start(3)
  await nap(all)
  await waitFor(() => brokers.takeOvers === 1, { what: "the take-over to be seen" })
  expect(brokers.hasEnded).toBe(true)
})

test("nobody takes over: that is told", async () => {
  const { brokers } = await start(REPLACED, undefined, "process.exit(11)")
  await expect(brokers.signal("SIGKILL")).rejects.toThrow("no broker took over")
  expect(await brokers.gone).toContain("no broker took over")
})
