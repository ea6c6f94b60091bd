import { describe, expect, test } from "vitest"
import type { AnomalyKind } from "../src/checker/anomaly.js"
import { Checker, type ReceivedCopy } from "../src/checker/checker.js"
import { checkNumbers } from "../src/checker/numbers.js"
import type { StoredQos } from "../src/checker/stream.js"

const TOPIC = "house/kitchen"

/** One publisher, one stream and one session; the publisher is on its first connection. */
class History {
  readonly checker = new Checker()
  readonly stream: number
  readonly session: number
  private readonly qos: StoredQos

  constructor(qos: StoredQos, filters: string[] = [TOPIC], granted = 2) {
    this.qos = qos
    this.stream = this.checker.addStream({ publisher: "p", topic: TOPIC, qos })
    this.session = this.checker.addSession(
      "s",
      filters.map((filter) => ({ filter, qos: granted })),
    )
    this.checker.connected(this.session, true)
  }

  publish(...messages: number[]): this {
    for (const n of messages) this.send(n)
    for (const n of messages) this.checker.acknowledged(this.stream, n)
    return this
  }

  send(n: number, connection = 1): this {
    this.checker.published(this.stream, n, connection)
    return this
  }

  deliver(n: number, more: Partial<ReceivedCopy> = {}): this {
    const delivery = { stream: this.stream, n, topic: TOPIC, qos: this.qos, dup: false, packetId: n + 1, ...more }
    this.checker.delivered(this.session, delivery)
    return this
  }

  release(packetId: number): this {
    this.checker.released(this.session, packetId)
    return this
  }

  reconnect(sessionPresent = true): this {
    this.checker.connected(this.session, sessionPresent)
    return this
  }

  crash(): this {
    this.checker.brokerEnded()
    return this.reconnect()
  }

  anomalies(): [AnomalyKind, number][] {
    return this.checker.verdict().anomalies.map(({ kind, count }) => [kind, count])
  }
}

describe("clean histories", () => {
  test.each([1, 2] as const)("QoS %i: everything once and in order", (qos) => {
    const history = new History(qos).publish(0, 1, 2).deliver(0).deliver(1).deliver(2)
    expect(history.checker.outstanding).toBe(0)
    expect(history.checker.verdict()).toMatchObject({ clean: true, published: 3, acknowledged: 3, expected: 3, firstCopies: 3, repeats: 0 })
  })

  test("a message that was sent and not acknowledged may come or not", () => {
    expect(new History(1).send(0).send(1).deliver(0).anomalies()).toEqual([])
  })

  test("a QoS 1 repeat with DUP after a reconnect is counted and allowed", () => {
    const history = new History(1).publish(0).deliver(0).reconnect().deliver(0, { dup: true }).release(1)
    expect(history.checker.verdict()).toMatchObject({ clean: true, repeats: 1, firstCopies: 1 })
  })

  test("a QoS 1 message that the publisher sent twice may come twice without DUP", () => {
    const history = new History(1).send(0).send(0, 2).publish().deliver(0).release(1).deliver(0, { packetId: 9 })
    expect(history.anomalies()).toEqual([])
  })

  test("after a crash QoS 1 messages in flight may change identifiers", () => {
    const history = new History(1).publish(0, 1).deliver(0).deliver(1).crash()
    expect(history.deliver(0, { dup: true, packetId: 2 }).deliver(1, { dup: true, packetId: 1 }).anomalies()).toEqual([])
  })

  test("a QoS 2 redelivery with the same identifier and DUP is no second delivery", () => {
    expect(new History(2).publish(0).deliver(0).crash().deliver(0, { dup: true }).release(1).anomalies()).toEqual([])
  })

  test("a copy for each overlapping Subscription is counted and allowed", () => {
    const history = new History(2, [TOPIC, "house/#"]).publish(0).deliver(0).deliver(0, { packetId: 7 })
    expect(history.checker.verdict()).toMatchObject({ clean: true, overlapCopies: 1 })
  })

  test("QoS 2 comes at QoS 1 where that was granted", () => {
    expect(new History(2, [TOPIC], 1).publish(0).deliver(0, { qos: 1 }).anomalies()).toEqual([])
  })

  test("first messages of two publishing connections have no order", () => {
    const history = new History(1).send(0).send(1, 2).publish()
    expect(history.deliver(1).deliver(0).anomalies()).toEqual([])
  })

  test("a session whose filters do not match misses nothing", () => {
    expect(new History(1, ["garden/#"]).publish(0).anomalies()).toEqual([])
  })

  test("clients that hide identifiers are checked for the rest", () => {
    const history = new History(1).publish(0, 1).deliver(0, { packetId: undefined }).deliver(1, { packetId: undefined })
    expect(history.anomalies()).toEqual([])
  })
})

describe("each kind of anomaly", () => {
  test("missing", () => {
    const history = new History(1).publish(0, 1, 2).deliver(0).deliver(2)
    expect(history.checker.outstanding).toBe(1)
    expect(history.anomalies()).toEqual([["missing", 1]])
  })

  test("missing, summed over sessions, with what came around it", () => {
    const history = new History(1)
    history.checker.addSession("absent", [{ filter: "#", qos: 1 }])
    history.publish(0, 1, 2).deliver(0).deliver(2)
    const [missing] = history.checker.verdict().anomalies
    expect(missing?.count).toBe(4)
    expect(missing?.history.join("\n")).toContain("message 0 came with delivery 1; message 2 came with delivery 2")
  })

  test("deliveredTwice: the identifier was completed before", () => {
    const history = new History(2).publish(0).deliver(0).release(1).deliver(0, { dup: true })
    expect(history.anomalies()).toEqual([["deliveredTwice", 1]])
  })

  test("deliveredTwice: after a crash with another identifier", () => {
    const history = new History(2).publish(0).deliver(0).crash().deliver(0, { dup: true, packetId: 5 })
    expect(history.anomalies()).toEqual([["deliveredTwice", 1]])
  })

  test("outOfOrder", () => {
    const history = new History(1).publish(0, 1, 2).deliver(0).deliver(2).deliver(1)
    expect(history.anomalies()).toEqual([["outOfOrder", 1]])
  })

  const again = { dup: true }

  test("repeatedOutOfOrder", () => {
    const history = new History(1).publish(0, 1, 2).deliver(0).deliver(1).deliver(2).reconnect()
    expect(history.deliver(0, again).deliver(2, again).deliver(1, again).anomalies()).toEqual([["repeatedOutOfOrder", 1]])
  })

  test("repeats are in order on each connection of their own, and what the publisher sent again may come in between", () => {
    const history = new History(1).publish(0, 1, 2).send(1).deliver(0).deliver(1).deliver(2)
    history.reconnect().deliver(0, again).deliver(2, again).deliver(1, again)
    expect(history.reconnect().deliver(0, again).deliver(1, again).deliver(2, again).anomalies()).toEqual([])
  })

  test.each([
    ["topic", { topic: "house/cellar" }],
    ["QoS", { qos: 2 }],
    ["payload", { payloadIntact: false }],
  ])("altered: %s", (_, more) => {
    expect(new History(1).publish(0).deliver(0, more).anomalies()).toEqual([["altered", 1]])
  })

  test.each([
    ["another filter", new History(1, ["garden/#"]).publish(0), {}],
    ["never published", new History(1).publish(0), { n: 1 }],
    ["unknown stream", new History(1).publish(0), { stream: 77 }],
  ])("stray: %s", (_, history, more) => {
    expect(
      history
        .deliver(0, more)
        .anomalies()
        .map(([kind]) => kind),
    ).toContain("stray")
  })

  test("sessionLost", () => {
    expect(new History(1).reconnect(false).anomalies()).toEqual([["sessionLost", 1]])
  })

  test.each([1, 2] as const)("identifierReused at QoS %i", (qos) => {
    const history = new History(qos).publish(0, 1).deliver(0, { packetId: 1 }).deliver(1, { packetId: 1 })
    expect(history.anomalies()).toEqual([["identifierReused", 1]])
  })

  test("identifierReused: QoS 2 keeps its identifiers across a crash", () => {
    const history = new History(2).publish(0, 1).deliver(0, { packetId: 1 }).crash().deliver(1, { packetId: 1 })
    expect(history.anomalies()).toEqual([["identifierReused", 1]])
  })

  test("identifierReused: QoS 1 keeps its identifiers while the broker lives", () => {
    const history = new History(1).publish(0, 1).deliver(0, { packetId: 1 }).reconnect().deliver(1, { packetId: 1 })
    expect(history.anomalies()).toEqual([["identifierReused", 1]])
  })

  test.each([1, 2] as const)("dupMissing at QoS %i with the same identifier", (qos) => {
    const history = new History(qos).publish(0).deliver(0).reconnect().deliver(0)
    expect(history.anomalies().map(([kind]) => kind)).toContain("dupMissing")
  })

  test("dupMissing: more plain copies than transmissions", () => {
    const history = new History(1).publish(0).deliver(0).release(1).deliver(0, { packetId: 9 })
    expect(history.anomalies().map(([kind]) => kind)).toContain("dupMissing")
  })

  test("leftOver", () => {
    const history = new History(1).publish(0).deliver(0).release(1)
    history.checker.complete()
    expect(history.deliver(0, { dup: true, packetId: 4 }).anomalies()).toEqual([["leftOver", 1]])
  })
})

test("leftOver is not what the publisher sent again and the broker had not delivered yet", () => {
  const history = new History(1).send(0).send(0, 2).publish().deliver(0).release(1)
  history.checker.complete()
  expect(history.reconnect().deliver(0, { packetId: 2 }).release(2).anomalies()).toEqual([])
  expect(history.deliver(0, { packetId: 3, dup: true }).anomalies()).toEqual([["leftOver", 1]])
})

test("histories of a million messages stay small", () => {
  const history = new History(1)
  const before = process.memoryUsage().arrayBuffers
  for (let n = 0; n < 1_000_000; n++) {
    history.send(n)
    history.checker.acknowledged(history.stream, n)
    history.deliver(n, { packetId: (n % 100) + 1 }).release((n % 100) + 1)
  }
  expect(history.checker.verdict()).toMatchObject({ clean: true, firstCopies: 1_000_000 })
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(32_000_000)
})

test("what is no number of a message was never published, and hides nothing that is missing", () => {
  for (const n of [-1, 0.5, Number.NaN, 3]) {
    const history = new History(1).publish(0, 1, 2)
    history.checker.delivered(history.session, { stream: history.stream, n, topic: TOPIC, qos: 1, dup: false })
    for (const came of [0, 1])
      history.checker.delivered(history.session, { stream: history.stream, n: came, topic: TOPIC, qos: 1, dup: false })
    expect(history.checker.verdict().anomalies.map(({ kind, count }) => [kind, count])).toEqual([
      ["missing", 1],
      ["stray", 1],
    ])
  }
})

test("a Packet Identifier of 0, and DUP on a first connection, are found", () => {
  const history = new History(1).publish(0, 1)
  history.checker.delivered(history.session, { stream: history.stream, n: 0, topic: TOPIC, qos: 1, dup: false, packetId: 0 })
  history.checker.delivered(history.session, { stream: history.stream, n: 1, topic: TOPIC, qos: 1, dup: true, packetId: 1 })
  expect(history.checker.verdict().anomalies.map(({ kind }) => kind)).toEqual(["altered", "dupUnfounded"])
})

describe("numbers that two commands printed", () => {
  test.each<[number[], AnomalyKind[]]>([
    [[1, 2, 3], []],
    [[1, 3], ["missing"]],
    [[], ["missing"]],
    [[1, 3, 2], ["outOfOrder"]],
    [[1, 2, 2, 3, 1], []],
    [[1, 2, 3, 4], ["stray"]],
    [[1, Number.NaN, 2, 3], ["stray"]],
  ])("1 to 3, at QoS 1 %j came: %j", (received, kinds) => {
    expect(checkNumbers({ qos: 1, published: 3, received }).anomalies.map(({ kind }) => kind)).toEqual(kinds)
  })

  test("a repeat is allowed at QoS 1, and counted; at QoS 2 it is not", () => {
    expect(checkNumbers({ qos: 1, published: 2, received: [1, 2, 1] })).toMatchObject({ clean: true, repeats: 1 })
    const { anomalies } = checkNumbers({ qos: 2, published: 2, received: [1, 2, 1] })
    expect(anomalies.map(({ kind }) => kind)).toEqual(["deliveredTwice"])
  })

  test("what was not acknowledged may be missing", () => {
    expect(checkNumbers({ qos: 1, published: 3, acknowledged: [1, 2], received: [1, 2] })).toMatchObject({ clean: true, expected: 2 })
  })
})
