import { randomId, waitFor } from "@mqtt-trio/testing"
import { expect, test } from "vitest"
import { Accounts, users } from "../support/accounts.js"
import { Peer } from "../support/peer.js"
import { fullConnect } from "../support/will.js"
import { publish, word, packet } from "../support/wire.js"

const SECONDS = 5

/** Connects with one wrong password after the other, until told to stop; returns how many were answered. */
async function guess(port: number, user: string, goesOn: () => boolean): Promise<number> {
  let answered = 0
  while (goesOn()) {
    const peer = new Peer(port, 4)
    peer.send(fullConnect(4, { clientId: randomId(), userName: user, password: randomId() }))
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await waitFor(() => peer.closed || peer.waiting.length > 0 || !goesOn(), { what: "an answer, or the end" })
    if (peer.waiting.length > 0) answered++
    peer.cut()
  }
  return answered
}

test("50 clients that guess passwords: a bystander's PUBACK p99 stays under 100 ms, guesses become slow, one line says so", async () => {
  const house = await Accounts.start({ users: users("bystander", "alice"), store: "file:./store" })
  const { port } = house.broker
  const sink = await house.lasting(4, "bystander", randomId())
  await sink.subscribe(["t", 1])
  const bystander = await house.login(4, "bystander")
  const end = performance.now() + SECONDS * 1000
  const guessing = Promise.all(
    Array.from({ length: 50 }, (_, k) => guess(port, k % 2 ? "alice" : randomId(), () => performance.now() < end)),
  )
  const times: number[] = []
  for (let n = 1; performance.now() < end; n = (n % 60_000) + 1) {
    const before = performance.now()
    bystander.send(publish(4, { topic: "t", qos: 1, packetId: n }))
    expect(await bystander.next()).toEqual(packet(0x40, word(n)))
    times.push(performance.now() - before)
  }
  times.sort((a, b) => a - b)
  expect(times.length).toBeGreaterThan(100)
  expect(times[Math.floor(times.length * 0.99)]).toBeLessThan(100)
  // one address: after the first few, each waits longer than the one before
  expect((await guessing).reduce((sum, answered) => sum + answered, 0)).toBeLessThan(50 * 20)
  expect(house.broker.stderr.split("wrong passwords").length - 1).toBe(1)
  // who knows the password, and was there before, comes in at once
  const before = performance.now()
  expect(await house.code(4, { userName: "bystander", password: "bystander!" })).toBe(0)
  expect(performance.now() - before).toBeLessThan(500)
}, 60_000)
