import { createHash } from "node:crypto"
import * as fc from "fast-check"
import { expect, test } from "vitest"
import { readPublish } from "../support/read.js"
import { packet, puback, publish } from "../support/wire.js"
import { cut, cuts, messages, packetOf, type Published } from "./arbitraries.js"
import { Frames, framesOf, payloadOf, runsOf, StoredLog, topicOf } from "./subjects.js"

const versions = fc.constantFrom(4 as const, 5 as const)
/** Messages of one client; some come several times in a row. */
const streams = versions.chain((version) => {
  const repeated = fc
    .tuple(messages(version), fc.integer({ min: 1, max: 4 }))
    .map(([message, times]) => Array.from({ length: times }, () => message))
  return fc.tuple(
    fc.constant(version),
    fc.array(repeated, { maxLength: 10 }).map((lists) => lists.flat()),
  )
})

/** What the packets of a run have in common. */
const kind = ({ topic, qos, retain }: Pick<Published, "topic" | "retain"> & { qos: number }): string => `${topic} ${qos} ${retain}`

/** The packets that lie in blocks, one after the other. */
function packetsIn(blocks: readonly Frames[]): Buffer[] {
  return blocks.flatMap((block) => Array.from({ length: block.n }, (_, k) => block.buf.subarray(block.startOf(k), block.endOf(k))))
}

/** As text, which is compared faster. */
const hex = (packets: readonly Buffer[]): string[] => packets.map((packet) => packet.toString("hex"))

/** What a client that receives sends between its messages. */
const acks = fc.array(fc.constantFrom(Buffer.alloc(0), puback(1), packet(0x50, [0, 1]), packet(0x70, [0, 1])), {
  minLength: 40,
  maxLength: 40,
})

test("the packets of a stream are the same, however it is cut into pieces, and whatever is acknowledged between them", () => {
  fc.assert(
    fc.property(streams, cuts, fc.boolean(), acks, ([version, list], sizes, again, between) => {
      // a publisher's DUP is not passed on (section 3.3.1.1)
      const sent = list.flatMap((message, n) => [
        packetOf(version, { ...message, dup: again && message.qos > 0 }),
        between[n] ?? Buffer.alloc(0),
      ])
      const runs = runsOf(cut(Buffer.concat(sent), sizes), version === 5)
      expect(hex(packetsIn(runs))).toEqual(hex(list.map((message) => packetOf(version, message))))
      for (const run of runs) {
        const all = packetsIn([run]).map((bytes) => readPublish(bytes, version))
        expect(new Set(all.map(kind)).size).toBe(1)
      }
    }),
  )
})

test("consecutive packets of one topic, QoS and RETAIN that come in one piece are one run", () => {
  fc.assert(
    fc.property(streams, ([version, list]) => {
      const stream = Buffer.concat(list.map((message) => packetOf(version, message)))
      const turns = list.filter((message, n) => n === 0 || kind(message) !== kind(list[n - 1] ?? message))
      expect(runsOf([stream], version === 5)).toHaveLength(turns.length)
    }),
  )
})

/** A message of either version, with a gap of positions before it. */
interface Piece {
  version: 4 | 5
  message: Published
  gap: number
  /** marked as a retained message */
  kept: boolean
}

const pieces: fc.Arbitrary<Piece[]> = fc.array(
  versions.chain((version) => fc.record({ version: fc.constant(version), message: messages(version), gap: fc.nat(5), kept: fc.boolean() })),
  { minLength: 1, maxLength: 20 },
)

interface Packed {
  block: Frames
  positions: number[]
}

function pack(list: readonly Piece[], first: number): Packed {
  const block = new Frames(Buffer.allocUnsafe(16), 1)
  block.first = first + (list[0]?.gap ?? 0)
  const positions: number[] = []
  for (const { version, message, gap, kept } of list) {
    const one = framesOf(packetOf(version, message), version === 5)
    if (kept) one.markKept(0)
    const position = (positions.at(-1) ?? first - 1) + 1 + gap
    block.append(one, 0, 1, position)
    positions.push(position)
  }
  return { block, positions }
}

function expectHolds({ block, positions }: Packed, list: readonly Piece[]): void {
  expect(block.n).toBe(list.length)
  const packets = packetsIn([block])
  expect(hex(packets)).toEqual(hex(list.map(({ version, message }) => packetOf(version, message))))
  for (const [k, { version, message, kept }] of list.entries()) {
    const id = message.qos > 0 ? block.identifierOf(k) : message.packetId
    const found = [topicOf(block, k), payloadOf(block, k).equals(message.payload), block.isV5(k), block.isKept(k), block.positionOf(k), id]
    expect(found).toEqual([message.topic, true, version === 5, kept, positions[k], message.packetId])
  }
  expect(block.largest).toBe(Math.max(...packets.map(({ length }) => length)))
}

/** What else is stored with a block. */
const facts = ({ last, traits, bytes, createdAt }: Frames): unknown[] => [last, traits, bytes, createdAt]

test("what is packed into a block comes out, before and after it was sealed", () => {
  fc.assert(
    fc.property(pieces, fc.nat(2 ** 45), (list, first) => {
      const packed = pack(list, first)
      packed.block.createdAt = 1.5e12
      expectHolds(packed, list)
      const value = packed.block.seal()
      expectHolds(packed, list)
      const block = Frames.unseal(packed.block.first, Buffer.from(value))
      expectHolds({ ...packed, block }, list)
      expect(facts(block)).toEqual(facts(packed.block))
      expect(Frames.bytesOf(value)).toBe(block.bytes)
    }),
  )
})

test("the place of a position is the first message at or after it", () => {
  fc.assert(
    fc.property(pieces, fc.nat(2 ** 45), fc.integer({ min: -3, max: 150 }), (list, first, offset) => {
      const { block, positions } = pack(list, first)
      const found = positions.findIndex((position) => position >= first + offset)
      expect(block.find(first + offset)).toBe(found < 0 ? list.length : found)
    }),
  )
})

test("a part that keeps its positions has the messages between its ends, and their bytes alone", () => {
  fc.assert(
    fc.property(pieces, fc.nat(2 ** 45), fc.nat(20), fc.nat(20), (list, first, a, b) => {
      const [from, to] = [Math.min(a, b, list.length), Math.min(Math.max(a, b), list.length)]
      if (from === to) return
      const { block, positions } = pack(list, first)
      const part = block.part(from, to)
      const some = list.slice(from, to)
      expect(hex(packetsIn([part]))).toEqual(hex(some.map(({ version, message }) => packetOf(version, message))))
      expect(Array.from({ length: part.n }, (_, k) => part.positionOf(k))).toEqual(positions.slice(from, to))
      expect(some.map((_, k) => [part.isV5(k), part.isKept(k), topicOf(part, k)])).toEqual(
        some.map(({ version, message, kept }) => [version === 5, kept, message.topic]),
      )
      expect([part.last, part.find(part.last), part.createdAt]).toEqual([positions[to - 1], to - from - 1, block.createdAt])
      expect(part.buf.length).toBe(part.bytes)
    }),
  )
})

test("a part of a block is what lies between its ends", () => {
  fc.assert(
    fc.property(pieces, fc.nat(20), fc.nat(20), (list, a, b) => {
      const [from, to] = [Math.min(a, b, list.length), Math.min(Math.max(a, b), list.length)]
      const part = list.slice(from, to)
      expect(hex(packetsIn([pack(list, 0).block.slice(from, to)]))).toEqual(
        hex(part.map(({ version, message }) => packetOf(version, message))),
      )
    }),
  )
})

/** Runs of one to a few messages; some are larger than a chunk of a log, or fill it. */
const logRuns = fc.array(
  fc.record({
    others: fc.nat(3),
    count: fc.integer({ min: 1, max: 4 }),
    size: fc.constantFrom(1, 100, 9000, 40_000, 70_000),
    flush: fc.boolean(),
  }),
  { minLength: 1, maxLength: 12 },
)

/** A message of a log: its position, and what tells its packet from others. */
const told = (position: number, packet: Buffer): string => `${position} ${packet.length} ${createHash("md5").update(packet).digest("hex")}`

test("a log gives back what went in, from any position on, from memory and from its store", async () => {
  await fc.assert(
    fc.asyncProperty(logRuns, fc.double({ min: 0, max: 1, noNaN: true }), async (list, place) => {
      const log = new StoredLog()
      const all: { position: number; packet: Buffer }[] = []
      const ends: number[] = []
      for (const [n, { others, count, size, flush }] of list.entries()) {
        const packets = Array.from({ length: count }, (_, k) =>
          publish(4, { topic: "t", qos: 1, packetId: n * 10 + k + 1, payload: Buffer.alloc(size, n) }),
        )
        const [run] = runsOf([Buffer.concat(packets)], false)
        if (!run) throw new Error("no run")
        const position = log.append(run, others)
        ends.push(position + count - 1)
        all.push(...packets.map((packet, k) => ({ position: position + k, packet })))
        if (flush) await log.flush()
      }
      await log.flush()
      const from = Math.floor(place * ((all.at(-1)?.position ?? 0) + 2))
      const wanted = all.filter(({ position }) => position >= from)
      const below = all.filter(({ position }) => position < from)
      const bytes = below.reduce((sum, { packet }) => sum + packet.length, 0)
      for (const reader of [log.inMemory, log.reopened()]) {
        expect(await readFrom(reader, from)).toEqual(wanted.map(({ position, packet }) => told(position, packet)))
        expect(await reader.countBelow(from)).toMatchObject({ messages: below.length, bytes })
        expect((await reader.countBelow(Infinity)).messages).toBe(all.length)
        for (const end of ends) {
          const chunk = await reader.find(end)
          expect(chunk?.positionOf(chunk.find(end))).toBe(end)
        }
      }
    }),
    { numRuns: 15 },
  )
})

/** As a Session that is behind reads it: the place within a chunk first, then chunk by chunk. */
async function readFrom(log: StoredLog["inMemory"], position: number): Promise<string[]> {
  const found: string[] = []
  let at = position
  let chunks = [await log.find(position)].filter((chunk) => chunk !== undefined)
  while (chunks.length > 0) {
    for (const chunk of chunks) {
      const packets = packetsIn([chunk])
      for (let k = chunk.find(at); k < chunk.n; k++) found.push(told(chunk.positionOf(k), packets[k] ?? Buffer.alloc(0)))
      at = chunk.last + 1
    }
    chunks = await log.read(at)
  }
  return found
}
