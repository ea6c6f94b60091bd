import { describe, expect, test } from "vitest"
import { Peer } from "../support/peer.js"
import { hasProgram } from "../support/processes.js"
import { readVarint } from "../support/read.js"
import { readTrace, TracedBroker, type SystemCall } from "../support/strace.js"
import { puback, publish } from "../support/wire.js"

const FILE = /journal\.\d+$/
const MESSAGES = 300
const FILTERS = 10

/** A packet that left, and the line at which the write that carried its first byte began. */
interface Sent {
  packet: Buffer
  at: number
}

/** The packets that the broker wrote to its sockets. */
function sentPackets(calls: readonly SystemCall[]): Sent[] {
  const streams = new Map<string, { rest: Buffer; at: number }>()
  const sent: Sent[] = []
  for (const { target, bytes, began, name, fd } of calls) {
    // stdout and stderr may be sockets too
    if (!target.startsWith("socket:") || name === "openat" || fd <= 2) continue
    const stream = streams.get(target)
    let rest = Buffer.concat([stream?.rest ?? Buffer.alloc(0), bytes])
    let at = stream?.rest.length ? stream.at : began
    while (rest.length > 1) {
      const [length, body] = readVarint(rest, 1)
      if (body + length > rest.length) break
      sent.push({ packet: rest.subarray(0, body + length), at })
      rest = rest.subarray(body + length)
      at = began
    }
    streams.set(target, { rest, at })
  }
  return sent
}

/** The line at which something that the broker wrote to its journal is on the disk: an fdatasync of that file that began after the write has returned. */
function durableAt(calls: readonly SystemCall[], marker: string): number {
  const file = calls.filter(({ target, result }) => FILE.test(target) && result >= 0)
  const written = file.find(({ bytes, name }) => name === "pwrite64" && bytes.includes(marker))
  const sync = written && file.find(({ name, target, began }) => name === "fdatasync" && target === written.target && began > written.ended)
  return sync?.ended ?? Infinity
}

/** What left before it was on the disk. `expected`: for each acknowledgement, the text in the file that it is about. */
function tooEarly(lines: readonly string[], expected: ReadonlyMap<string, string>): string[] {
  const calls = readTrace(lines)
  const sent = sentPackets(calls)
  const problems: string[] = []
  for (const [acknowledgement, marker] of expected) {
    const found = sent.find(({ packet }) => packet.toString("hex").startsWith(acknowledgement))
    if (!found) problems.push(`${acknowledgement} was not sent`)
    else if (found.at < durableAt(calls, marker)) problems.push(`${acknowledgement} left before ${marker} was on the disk`)
  }
  for (const { packet, at } of sent) {
    const marker = packet[0] === 0x32 ? packet.toString("latin1", packet.indexOf("message-")) : undefined
    if (marker !== undefined && at < durableAt(calls, marker)) problems.push(`${marker} was delivered before it was on the disk`)
  }
  return problems
}

/** `message-0017` and the like: nothing of them is a part of another. */
const message = (n: number): string => `message-${String(n).padStart(4, "0")}`

/** A session that is made, subscribes, publishes one by one and in bursts, and receives its own messages. */
async function traffic(port: number): Promise<Map<string, string>> {
  const expected = new Map<string, string>([["20020000", "the-session"]])
  const session = await Peer.connected(port, 4, { clientId: "the-session", clean: false })
  for (let n = 0; n < FILTERS; n++) {
    expect(await session.subscribe([`filter-${n}-of-it`, 1])).toEqual([1])
    session.send(Buffer.from([0xc0, 0]))
    await session.next()
  }
  expected.set("9003000101", "filter-0-of-it")
  const publisher = await Peer.connected(port, 4)
  const send = (n: number): void =>
    publisher.send(publish(4, { topic: `filter-${n % FILTERS}-of-it`, qos: 1, packetId: n, payload: message(n) }))
  for (let n = 1; n <= MESSAGES; n++) {
    expected.set(puback(n).toString("hex"), message(n))
    send(n)
    if (n > MESSAGES / 2) continue
    expect(await publisher.next()).toEqual(puback(n))
    session.send(puback((await session.nextPublish()).packetId))
  }
  for (let n = MESSAGES / 2 + 1; n <= MESSAGES; n++) {
    expect(await publisher.next()).toEqual(puback(n))
    session.send(puback((await session.nextPublish()).packetId))
  }
  return expected
}

describe.runIf(hasProgram("strace", "-V"))("under strace", () => {
  test(
    "no CONNACK, SUBACK or PUBACK leaves before the fdatasync that covers it, and no message reaches a persistent session before",
    {
      timeout: 120_000,
    },
    async () => {
      const broker = await TracedBroker.start()
      const expected = await traffic(broker.port)
      const lines = await broker.stop()
      expect(tooEarly(lines, expected)).toEqual([])

      const withoutSync = lines.filter((line) => !/ fd?a?t?a?sync\(/.test(line))
      expect(withoutSync.length).toBeLessThan(lines.length - 50)
      expect(tooEarly(withoutSync, expected).length).toBeGreaterThan(MESSAGES)
      const [, ...late] = lines.filter((line) => / fdatasync\(/.test(line))
      const allAtTheEnd = [...lines.filter((line) => !late.includes(line)), ...late]
      expect(tooEarly(allAtTheEnd, expected).length).toBeGreaterThan(MESSAGES)
    },
  )
})
