import { randomId } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { Accounts, users } from "../support/accounts.js"
import { complete, lasting } from "../support/messages.js"
import { publish, sessionExpiry, properties } from "../support/wire.js"

const NAMES = users("alice", "bob")
const VERSIONS = [4, 5] as const
const NOT = { 4: 5, 5: 0x87 }

/** CONNECT fields of an account. */
function as(user: string, clientId: string): { clientId: string; userName: string; password: string } {
  return { clientId, userName: user, password: `${user}!` }
}

describe.each(VERSIONS)("version %i: a session belongs to its user", (version) => {
  test("another one cannot resume it, take it over or discard it, and learns nothing of its queue", async () => {
    const house = await Accounts.start({ users: NAMES, store: "memory:" })
    const clientId = randomId()
    const first = await house.lasting(version, "alice", clientId)
    await first.subscribe(["t", 1])
    // while its client is connected
    for (const clean of [true, false]) expect(await house.code(version, { ...as("bob", clientId), clean })).toBe(NOT[version])
    expect(await first.settled()).toEqual([])
    first.cut()
    const publisher = await house.login(4, "bob")
    publisher.send(publish(4, { topic: "t", qos: 1, packetId: 1, payload: "secret" }))
    await publisher.next()
    // and while it is away
    const expiry = version === 5 ? { properties: properties(sessionExpiry(1000)) } : {}
    for (const clean of [true, false]) expect(await house.code(version, { ...as("bob", clientId), clean, ...expiry })).toBe(NOT[version])
    const back = await house.lasting(version, "alice", clientId)
    const message = await back.nextPublish()
    expect(message.payload.toString()).toBe("secret")
    await complete(back, message)
  })

  test("a session that ends with its connection is nobody else's as long as it lasts", async () => {
    const house = await Accounts.start({ users: NAMES })
    const clientId = randomId()
    const first = await house.login(version, "alice", { clientId })
    expect(await house.code(version, as("bob", clientId))).toBe(NOT[version])
    first.cut()
    await expect.poll(() => house.code(version, as("bob", clientId))).toBe(0)
  })

  test("it stays its user's over a restart, and over kill -9", async () => {
    const house = await Accounts.start({ users: NAMES, store: "file:./store" })
    const clientId = randomId()
    const first = await house.lasting(version, "alice", clientId)
    await first.subscribe(["t", 1])
    for (const end of ["stop", "kill9"] as const) {
      await house.broker[end]()
      await house.broker.restart()
      expect(await house.code(version, as("bob", clientId))).toBe(NOT[version])
    }
    expect(await house.code(version, { ...as("alice", clientId), clean: false })).toBe(0)
  })
})

test("sessions from before there were users are taken by the first user who asks, and are that user's from then on", async () => {
  const before = await Accounts.start({ store: "file:./store" })
  const clientId = randomId()
  const { clean = false } = lasting(clientId)
  const first = await before.login(4, undefined, { clientId, clean })
  await first.subscribe(["t", 1])
  await before.broker.stop()
  const house = await Accounts.start({ users: NAMES, store: `file:${before.broker.dir}/store` })
  const taken = await house.login(4, "alice", { clientId, clean })
  await taken.settled()
  expect(await house.code(4, { ...as("bob", clientId), clean })).toBe(5)
  await house.broker.stop()
  await house.broker.restart()
  expect(await house.code(4, { ...as("bob", clientId), clean })).toBe(5)
  expect(await house.code(4, { ...as("alice", clientId), clean })).toBe(0)
})

test("with --anonymous, a session without a user is no user's, and a user's is nobody else's", async () => {
  const house = await Accounts.start({ users: NAMES, args: ["--anonymous"] })
  const [nobodys, alices] = [randomId(), randomId()]
  await house.login(4, undefined, { clientId: nobodys, clean: false })
  await house.login(4, "alice", { clientId: alices, clean: false })
  expect(await house.code(4, as("alice", nobodys))).toBe(5)
  expect(await house.code(4, { clientId: alices })).toBe(5)
  expect(await house.code(4, { clientId: nobodys })).toBe(0)
})
