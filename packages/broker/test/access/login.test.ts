import { writeFileSync } from "node:fs"
import { expect, test } from "vitest"
import { accountLine, Accounts, users } from "../support/accounts.js"
import { fullConnect } from "../support/will.js"
import { Peer } from "../support/peer.js"
import { readConnack } from "../support/read.js"
import { DISCONNECT, publish } from "../support/wire.js"

const VERSIONS = [4, 5] as const
const BAD = { 4: 4, 5: 0x86 }
const NOT = { 4: 5, 5: 0x87 }

const closed = await Accounts.start({ users: { ...users("alice", "bob"), ü: "pässword", empty: "" } })
const both = await Accounts.start({ users: users("alice"), args: ["--anonymous"] })
const open = await Accounts.start({})

test.each(VERSIONS)("version %i: who has the password comes in", async (version) => {
  expect(await closed.code(version, { userName: "alice", password: "alice!" })).toBe(0)
  expect(await closed.code(version, { userName: "ü", password: "pässword" })).toBe(0)
  expect(await closed.code(version, { userName: "empty", password: "" })).toBe(0)
})

test.each(VERSIONS)("version %i: others do not, bad user name or password [MQTT-3.2.2-5]", async (version) => {
  const house = await Accounts.start({ users: users("alice", "bob") })
  const wrong = [
    { userName: "alice", password: "bob!" },
    { userName: "alice", password: "alice" },
    { userName: "alice", password: "alice!x" },
    { userName: "alice", password: "" },
    { userName: "alice" },
    { userName: "Alice", password: "alice!" },
    { userName: "nobody", password: "alice!" },
    { userName: "", password: "" },
    { userName: "__proto__", password: "" },
  ]
  expect(await Promise.all(wrong.map((fields) => house.code(version, fields)))).toEqual(wrong.map(() => BAD[version]))
})

test.each(VERSIONS)("version %i: without a user name nobody comes in, unless --anonymous says so: not authorized", async (version) => {
  expect(await closed.code(version, {})).toBe(NOT[version])
  expect(await both.code(version, {})).toBe(0)
  expect(await both.code(version, { userName: "alice", password: "wrong" })).toBe(BAD[version])
})

test("a password without a user name is legal in MQTT 5: where there are no users it changes nothing [5.0 section 3.1.2.9]", async () => {
  expect(await open.code(5, { password: "token" })).toBe(0)
  expect(await both.code(5, { password: "token" })).toBe(0)
  expect(await closed.code(5, { password: "token" })).toBe(BAD[5])
})

test("a password is bytes, not text", async () => {
  const secret = Buffer.from([0xff, 0x00, 0xc3, 0x28])
  const house = await Accounts.start({ users: users("x") })
  writeFileSync(house.passwordFile, `${accountLine("bytes", secret)}\n`)
  process.kill(house.broker.pid, "SIGHUP")
  await expect.poll(() => house.code(4, { userName: "bytes", password: secret })).toBe(0)
  expect(await house.code(5, { userName: "bytes", password: secret })).toBe(0)
  expect(await house.code(5, { userName: "bytes", password: Buffer.from([0xff, 0x00, 0xc3, 0x29]) })).toBe(BAD[5])
  // what another library makes of the same bytes as text
  expect(await house.code(5, { userName: "bytes", password: secret.toString("utf8") })).toBe(BAD[5])
})

test("where there are no users, a user name means nothing: everybody comes in, and into every session", async () => {
  expect(await open.code(4, { userName: "x", password: "y" })).toBe(0)
  for (const userName of ["one", "two", undefined]) {
    const peer = await open.login(5, userName, { clientId: "shared", clean: false })
    peer.send(DISCONNECT)
    await peer.ended()
  }
})

test("what comes behind a CONNECT that is refused is not looked at, and the connection ends", async () => {
  const house = await Accounts.start({ users: users("alice") })
  const peer = new Peer(house.broker.port, 5)
  peer.send(fullConnect(5, { clientId: "refused", userName: "alice", password: "no" }), publish(5, { topic: "x" }))
  const came = await peer.ended()
  expect(came.map((one) => readConnack(one).reason)).toEqual([BAD[5]])
})
