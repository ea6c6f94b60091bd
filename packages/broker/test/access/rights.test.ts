import { randomId, waitFor } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { Accounts, users } from "../support/accounts.js"
import { complete } from "../support/messages.js"
import type { Peer } from "../support/peer.js"
import { readPublish } from "../support/read.js"
import { DISCONNECT, packet, publish, puback, word } from "../support/wire.js"

const VERSIONS = [4, 5] as const
const NAMES = users("reader", "writer", "both", "none")
const ACL = ["user reader", "topic read open/#", "topic deny open/secret", "user writer", "topic write open/#", "user both", "topic #"]

/** The Topic Names of what came, up to now. */
async function topicsTo(peer: Peer): Promise<string[]> {
  const version = peer.version
  return (await peer.settled()).filter((one) => (one[0] ?? 0) >> 4 === 3).map((one) => readPublish(one, version).topic)
}

describe.each(VERSIONS)("version %i", async (version) => {
  const house = await Accounts.start({ users: NAMES, acl: [...ACL, "pattern readwrite own/%u/#"] })

  test("a PUBLISH without the right is not delivered; MQTT 5.0 says 0x87, 3.1.1 is answered as if all were well", async () => {
    const watcher = await house.login(5, "both")
    await watcher.subscribe(["#", 2])
    const peer = await house.login(version, "writer")
    peer.send(publish(version, { topic: "closed", qos: 0 }))
    peer.send(publish(version, { topic: "closed", qos: 1, packetId: 7 }))
    peer.send(publish(version, { topic: "closed", qos: 2, packetId: 8 }))
    const [first, second] = [await peer.next(), await peer.next()]
    if (version === 5) {
      expect(first).toEqual(packet(0x40, word(7), [0x87]))
      expect(second).toEqual(packet(0x50, word(8), [0x87]))
    } else {
      expect(first).toEqual(puback(7))
      expect(second).toEqual(packet(0x50, word(8)))
      peer.send(packet(0x62, word(8)))
      expect(await peer.next()).toEqual(packet(0x70, word(8)))
    }
    peer.send(publish(version, { topic: "open/x", qos: 1, packetId: 9 }))
    expect((await peer.next())[0]).toBe(0x40)
    expect(await topicsTo(watcher)).toEqual(["open/x"])
    await waitFor(() => house.broker.stderr.includes('may not publish to \\"closed\\"'), { what: "a line in the log" })
  })

  test("a refused PUBLISH is not retained either", async () => {
    const topic = `closed/${randomId()}`
    const peer = await house.login(version, "writer")
    peer.send(publish(version, { topic, qos: 1, packetId: 1, retain: true, payload: "kept?" }))
    await peer.next()
    const watcher = await house.login(version, "both")
    await watcher.subscribe([topic, 0])
    expect(await topicsTo(watcher)).toEqual([])
  })

  test("a Topic Filter of which nothing may be read is refused, one of which something may is granted", async () => {
    const peer = await house.login(version, "reader")
    const refused = version === 5 ? 0x87 : 0x80
    expect(
      await peer.subscribe(["closed", 1], ["open/#", 1], ["#", 2], ["open/secret", 1], ["own/reader/x", 0], ["own/both/x", 0], ["+/x", 1]),
    ).toEqual([refused, 1, 2, refused, 0, refused, 1])
  })

  test("what may not be read does not come, live at any QoS", async () => {
    const peer = await house.login(version, "reader")
    await peer.subscribe(["#", 2], ["+/secret", 0])
    const publisher = await house.login(5, "both")
    for (const [k, topic] of ["closed", "open/a", "open/secret", "own/reader/b", "own/both/c"].entries())
      for (const qos of [0, 1] as const) publisher.send(publish(5, { topic, qos, packetId: k + 1 }))
    for (let k = 0; k < 5; k++) await publisher.next()
    expect(await topicsTo(peer)).toEqual(["open/a", "open/a", "own/reader/b", "own/reader/b"])
  })

  test("what may not be read does not come from the retained messages", async () => {
    const name = randomId()
    const publisher = await house.login(5, "both")
    for (const [k, topic] of [`open/${name}`, `closed/${name}`].entries())
      publisher.send(publish(5, { topic, qos: 1, packetId: k + 1, retain: true, payload: "kept" }))
    await publisher.next()
    await publisher.next()
    for (const qos of [0, 1]) {
      const peer = await house.login(version, "reader")
      expect(await peer.subscribe([`+/${name}`, qos])).toEqual([qos])
      expect((await peer.nextPublish()).topic).toBe(`open/${name}`)
      expect(await topicsTo(peer)).toEqual([])
    }
  })

  test("a persistent session's queue has only what may be read, and keeps the order", async () => {
    const [clientId, mark] = [randomId(), randomId()]
    const away = await house.lasting(version, "reader", clientId)
    await away.subscribe([`+/${mark}`, 1])
    away.cut()
    const publisher = await house.login(4, "both")
    for (let n = 0; n < 100; n++)
      publisher.send(publish(4, { topic: `${n % 3 ? "open" : "closed"}/${mark}`, qos: 1, packetId: n + 1, payload: `${n}` }))
    for (let n = 0; n < 100; n++) await publisher.next()
    const back = await house.lasting(version, "reader", clientId)
    const came: number[] = []
    while (came.length < 66) {
      const message = await back.nextPublish()
      came.push(Number(message.payload.toString()))
      await complete(back, message)
    }
    expect(came).toEqual(Array.from({ length: 100 }, (_, n) => n).filter((n) => n % 3))
    expect(await topicsTo(back)).toEqual([])
  })

  test("a Will needs the right: at CONNECT", async () => {
    const refused = version === 5 ? 0x87 : 5
    const will = { topic: "closed", payload: "w" }
    expect(await house.code(version, { userName: "writer", password: "writer!", will })).toBe(refused)
    expect(await house.code(version, { userName: "writer", password: "writer!", will: { ...will, topic: "open/w" } })).toBe(0)
  })

  test("clients may not publish to $SYS, but for the state of a bridge; Wills neither", async () => {
    const watcher = await house.login(4, "both")
    await watcher.subscribe(["$SYS/#", 1])
    const plain = await Accounts.start({})
    for (const [accounts, user] of [
      [plain, undefined],
      [house, "both"],
    ] as const) {
      const peer = await accounts.login(version, user)
      for (const [k, topic] of [
        "$SYS/broker/uptime",
        "$SYS",
        "$SYS/broker/connection/x/state",
        "$SYS/broker/connection/x/y/state",
      ].entries())
        peer.send(publish(version, { topic, qos: 1, packetId: k + 1 }))
      const codes = []
      for (let k = 0; k < 4; k++) codes.push((await peer.next())[4] ?? 0)
      const no = version === 5 ? 0x87 : 0
      expect(codes.map((code) => (code === 0x10 ? 0 : code))).toEqual([no, no, version === 5 && accounts === house ? 0x87 : 0, no])
      expect(
        await accounts.code(version, { ...(user ? { userName: user, password: `${user}!` } : {}), will: { topic: "$SYS/x", payload: "" } }),
      ).toBe(version === 5 ? 0x87 : 5)
    }
    expect(await topicsTo(watcher)).toEqual([])
  })
})

describe("a right is taken away", () => {
  const without = ["user reader", "topic read other/#", "user both", "topic #"]

  test("live, queued and retained messages do not come any more; what the other may read does", async () => {
    const changing = await Accounts.start({ users: NAMES, acl: ACL })
    const [live, clientId] = [await changing.login(5, "reader"), randomId()]
    await live.subscribe(["open/#", 1], ["#", 0])
    const away = await changing.lasting(5, "reader", clientId)
    await away.subscribe(["open/#", 1])
    await away.subscribe(["+/b", 1])
    away.cut()
    const publisher = await changing.login(5, "both")
    for (const [k, topic] of ["open/a", "open/b"].entries()) {
      publisher.send(publish(5, { topic, qos: 1, packetId: k + 1, retain: true, payload: "kept" }))
      await publisher.next()
    }
    expect(await topicsTo(live)).toEqual(["open/a", "open/b"])
    await changing.change({ acl: without })
    for (const [k, topic] of ["open/c", "other/d", "other/b"].entries()) {
      publisher.send(publish(5, { topic, qos: 1, packetId: k + 1 }))
      await publisher.next()
    }
    expect(await topicsTo(live)).toEqual(["other/d", "other/b"])
    const back = await changing.lasting(5, "reader", clientId)
    const message = await back.nextPublish()
    expect(message.topic).toBe("other/b")
    await complete(back, message)
    expect(await topicsTo(back)).toEqual([])
    await waitFor(() => changing.broker.stderr.includes("that its user may not read any more"), { what: "the log's line" })
    const late = await changing.login(5, "reader")
    expect(await late.subscribe(["open/#", 1])).toEqual([0x87])
  })

  test("what was sent and not acknowledged is not sent again; at QoS 2 its identifier is freed with PUBREL", async () => {
    const changing = await Accounts.start({ users: NAMES, acl: ACL })
    const clientId = randomId()
    const first = await changing.lasting(4, "reader", clientId)
    await first.subscribe(["open/#", 2])
    const publisher = await changing.login(4, "both")
    publisher.send(publish(4, { topic: "open/1", qos: 1, packetId: 1 }))
    expect((await first.nextPublish()).topic).toBe("open/1")
    publisher.send(publish(4, { topic: "open/2", qos: 2, packetId: 2 }))
    const second = await first.nextPublish()
    expect(second.topic).toBe("open/2")
    first.cut()
    await changing.change({ acl: without })
    const back = await changing.lasting(4, "reader", clientId)
    expect(await back.next()).toEqual(packet(0x62, word(second.packetId)))
    back.send(packet(0x70, word(second.packetId)))
    expect(await topicsTo(back)).toEqual([])
    await changing.change({ acl: ACL })
    publisher.send(publish(4, { topic: "open/3", qos: 1, packetId: 3 }))
    expect((await back.nextPublish()).topic).toBe("open/3")
  })

  test("a Will is not sent any more, and the log says so", async () => {
    const changing = await Accounts.start({ users: NAMES, acl: ACL })
    const mortal = await changing.login(5, "writer", { will: { topic: "open/will", payload: "w", qos: 1 } })
    const watcher = await changing.login(5, "both")
    await watcher.subscribe(["#", 1])
    await changing.change({ acl: ["user both", "topic #"] })
    mortal.cut()
    await waitFor(() => changing.broker.stderr.includes("its Will is not sent"), { what: "the log's line" })
    expect(await topicsTo(watcher)).toEqual([])
  })
})

test("a right that is given counts for subscriptions that are there", async () => {
  const changing = await Accounts.start({ users: NAMES, acl: ACL })
  const peer = await changing.login(5, "reader")
  await peer.subscribe(["#", 1])
  await changing.change({ acl: ["user reader", "topic read closed", "user both", "topic #"] })
  const publisher = await changing.login(5, "both")
  publisher.send(publish(5, { topic: "closed", qos: 1, packetId: 1 }))
  await publisher.next()
  expect(await topicsTo(peer)).toEqual(["closed"])
})

test("without users everybody is anonymous, and the rules before the first user line are theirs", async () => {
  const plain = await Accounts.start({ acl: ["topic read free/#", "user alice", "topic #"] })
  for (const user of [undefined, "alice"]) {
    const peer = await plain.login(5, user)
    expect(await peer.subscribe(["free/x", 1], ["paid/x", 1])).toEqual([1, 0x87])
    peer.send(DISCONNECT)
  }
})
