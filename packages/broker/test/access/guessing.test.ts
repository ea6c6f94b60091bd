import { writeFileSync } from "node:fs"
import { connect } from "node:net"
import { join } from "node:path"
import { passwordFile, randomId, temporaryFolder, waitFor } from "@mqtt-trio/testing"
import { expect, test } from "vitest"
import { Access } from "../../src/access/access.js"
import { Turns } from "../../src/access/users/turns.js"
import { Guesses } from "../../src/access/users/guesses.js"
import { Accounts, users } from "../support/accounts.js"
import { Peer } from "../support/peer.js"
import { fullConnect } from "../support/will.js"

/** CONNECT from an address; the return code of its CONNACK and after how many ms, or how long nothing came. */
async function login(house: Accounts, from: string, userName: string, password: string): Promise<{ code: number | undefined; ms: number }> {
  const start = performance.now()
  const peer = new Peer(connect({ port: house.broker.port, host: "127.0.0.1", localAddress: from }), 4)
  peer.send(fullConnect(4, { clientId: randomId(), userName, password }))
  const code = await peer.next(60_000).then(
    (connack) => connack[3],
    () => undefined,
  )
  return { code, ms: performance.now() - start }
}

async function guess(house: Accounts, from: string, user: string, times: number): Promise<void> {
  for (let n = 0; n < times; n++) expect((await login(house, from, user, `wrong ${n}`)).code).toBe(4)
}

test("who guesses slows its own address and the users it guesses for, nobody else", async () => {
  const house = await Accounts.start({ users: users("alice", "bob", "carol") })
  expect((await login(house, "127.0.0.5", "alice", "alice!")).code).toBe(0)
  await guess(house, "127.0.0.9", "alice", 5)
  const carol = await login(house, "127.0.0.2", "carol", "carol!")
  expect(carol).toMatchObject({ code: 0 })
  expect(carol.ms).toBeLessThan(900)
  // where she came in before, she still does at once; elsewhere, and from the guesser's address, it takes its time
  expect((await login(house, "127.0.0.5", "alice", "alice!")).ms).toBeLessThan(900)
  const [elsewhere, there] = await Promise.all([login(house, "127.0.0.6", "alice", "alice!"), login(house, "127.0.0.9", "bob", "bob!")])
  expect([elsewhere.code, there.code]).toEqual([0, 0])
  expect(Math.min(elsewhere.ms, there.ms)).toBeGreaterThan(900)
})

test("guesses that come at once are slowed as those that come one by one, the right one too", async () => {
  const house = await Accounts.start({ users: users("alice") })
  const start = performance.now()
  const answered: string[] = []
  for (let n = 0; n < 60; n++) {
    const password = n === 30 ? "alice!" : `wrong ${n}`
    void login(house, "127.0.0.9", "alice", password).then(() => answered.push(password))
  }
  // two at a time: the delays of the fourth to the eighth together are seconds
  await waitFor(() => answered.length >= 8, { what: "the first answers" })
  expect(performance.now() - start).toBeGreaterThan(1500)
  expect(answered).not.toContain("alice!")
})

test("a password that is remembered is not told to who guesses: the right one comes as late as a wrong one", async () => {
  const house = await Accounts.start({ users: users("alice") })
  expect((await login(house, "127.0.0.5", "alice", "alice!")).code).toBe(0)
  await guess(house, "127.0.0.5", "alice", 5)
  for (const from of ["127.0.0.5", "127.0.0.9"]) expect((await login(house, from, "alice", "alice!")).ms).toBeGreaterThan(900)
})

test("a guess counts although nobody waits for its answer", async () => {
  const file = join(temporaryFolder(), "users")
  writeFileSync(file, passwordFile(users("alice")))
  const silent = { info: () => {}, warn: () => {}, error: () => {} }
  const access = new Access({ passwordFile: file, aclFile: undefined, anonymous: false, certificates: false }, silent)
  const ask = (password: string, gone: boolean): Promise<unknown> =>
    access.authenticate({ clientId: "c", username: "alice", password, address: "192.0.2.1", certificateUser: undefined, gone: () => gone })
  for (let n = 0; n < 5; n++) await ask("wrong", true)
  const before = performance.now()
  await ask("another", false)
  expect(performance.now() - before).toBeGreaterThan(900)
})

test("with a delay longer than the time to CONNECT, the right password comes in all the same", async () => {
  const house = await Accounts.start({ users: users("alice"), args: ["--connect-timeout", "1s"] })
  await guess(house, "127.0.0.9", "alice", 6)
  expect((await login(house, "127.0.0.9", "alice", "alice!")).code).toBe(0)
})

const NO_BYTES = Buffer.alloc(0)

test("turns: two of a place at a time, in their order; those that are gone make room; what waits is bounded", async () => {
  const turns = new Turns()
  const gone = new Set<number>()
  const order: string[] = []
  const enter = (place: string, n: number): void => {
    void turns.enter(place, { bytes: NO_BYTES, gone: () => gone.has(n) }).then((isTurn) => order.push(`${n} ${isTurn}`))
  }
  for (let n = 0; n < 205; n++) enter("a", n)
  enter("b", 1000)
  await Promise.resolve()
  await Promise.resolve()
  expect(order).toEqual(["0 true", "1 true", "202 false", "203 false", "204 false", "1000 true"])
  expect(turns.waiting).toBe(200)
  gone.add(2).add(3)
  enter("a", 300)
  turns.leave("a", { bytes: NO_BYTES, gone: () => false })
  await Promise.resolve()
  await Promise.resolve()
  expect(order.slice(6).toSorted()).toEqual(["2 false", "3 false", "4 true"])
  expect(turns.waiting).toBe(198)
  for (let n = 0; n < 300; n++) turns.leave("a", { bytes: NO_BYTES, gone: () => false })
  turns.leave("b", { bytes: NO_BYTES, gone: () => false })
  expect([turns.waiting, turns.isFree("a"), turns.isFree("b")]).toEqual([0, true, true])
})

test("turns: the bytes of all passwords together are bounded, and given back", async () => {
  const turns = new Turns()
  const large = { bytes: Buffer.alloc(1 << 20), gone: () => false }
  for (let n = 0; n < 32; n++) expect(await turns.enter(`p${n}`, large)).toBe(true)
  expect(await turns.enter("another", large)).toBe(false)
  for (let n = 0; n < 32; n++) turns.leave(`p${n}`, large)
  expect(await turns.enter("another", large)).toBe(true)
})

test("who came in from an address is slowed there only by what is wrong for that user there", () => {
  const guesses = new Guesses()
  guesses.succeeded("192.0.2.1", "alice")
  for (let n = 0; n < 6; n++) guesses.failed("192.0.2.1", "bob", n)
  expect([guesses.delay("192.0.2.1", "alice", 6), guesses.delay("192.0.2.1", "bob", 6)]).toEqual([0, 2000])
  for (let n = 0; n < 4; n++) guesses.failed("192.0.2.1", "alice", n)
  expect(guesses.delay("192.0.2.1", "alice", 6)).toBe(500)
  expect(guesses.placeOf("192.0.2.1", "alice")).not.toBe(guesses.placeOf("192.0.2.1", "bob"))
})
