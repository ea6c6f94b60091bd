import * as fc from "fast-check"
import { expect, test } from "vitest"
import { readPublish, type Publication } from "../support/read.js"
import { long, properties, varint } from "../support/wire.js"
import { messages, packetOf, type Published } from "./arbitraries.js"
import { checkProperties, convert, encodeFor, expirySecondsOf, framesOf, PacketError, type PropertyOwner, type QoS } from "./subjects.js"

const EXPIRY = 2
const SUBSCRIPTION_IDENTIFIER = 11
const versions = fc.constantFrom(4 as const, 5 as const)
const published = versions.chain((version) => fc.tuple(fc.constant(version), messages(version)))
const identifiers = fc.option(fc.array(fc.integer({ min: 1, max: 268_435_455 }), { maxLength: 3 }), { nil: undefined })
const waits = fc.oneof(fc.constant(0), fc.nat(0xffff_ffff))

/** What a receiver must see of the properties: what was published, what is left of the expiry, its own identifiers. */
function expectedProperties(message: Published, waited: number, own: readonly number[] | undefined): Publication["properties"] {
  const passed = readPublish(packetOf(5, message), 5).properties.map(({ id, value }) => ({
    id,
    value: id === EXPIRY ? Buffer.from(long(Math.max(0, (message.expiry ?? 0) - waited))) : value,
  }))
  return [...passed, ...(own ?? []).map((id) => ({ id: SUBSCRIPTION_IDENTIFIER, value: varint(id) }))]
}

test("a message that is encoded for a receiver is the same message, with what is the receiver's own", () => {
  const receivers = fc.record({
    to: versions,
    qos: fc.constantFrom<QoS[]>(0, 1, 2),
    identifier: fc.integer({ min: 1, max: 65_535 }),
    dup: fc.boolean(),
    retain: fc.boolean(),
    waitedSeconds: waits,
    subscriptionIdentifiers: identifiers,
  })
  fc.assert(
    fc.property(published, receivers, ([version, message], { to, subscriptionIdentifiers, ...how }) => {
      const v5 = to === 5
      const own = v5 ? subscriptionIdentifiers : undefined
      const identifier = how.qos ? how.identifier : 0
      const bytes = encodeFor(framesOf(packetOf(version, message), version === 5), 0, {
        ...how,
        v5,
        identifier,
        subscriptionIdentifiers: own,
      })
      const { topic, payload } = message
      expect(readPublish(bytes, to)).toEqual({
        dup: how.dup,
        qos: how.qos,
        retain: how.retain,
        topic,
        packetId: identifier,
        payload,
        properties: v5 ? expectedProperties(message, how.waitedSeconds, own) : [],
      })
      expect(bytes.length).toBe(readLength(bytes))
    }),
  )
})

/** The size that the Remaining Length of a packet announces. */
function readLength(packet: Buffer): number {
  let at = 1
  let length = 0
  for (let shift = 0; ; shift += 7) {
    const byte = packet[at++] ?? 0
    length += (byte & 127) * 2 ** shift
    if (byte < 128) return at + length
  }
}

test("a block in another encoding holds each of its messages in that encoding", () => {
  fc.assert(
    fc.property(published, versions, fc.constantFrom<QoS[]>(0, 1, 2), fc.boolean(), ([version, message], to, qos, kept) => {
      const src = framesOf(packetOf(version, message), version === 5)
      if (kept) src.markKept(0)
      const out = convert(src, to === 5, qos)
      const bytes = out.buf.subarray(out.startOf(0), out.endOf(0))
      const { topic, payload, retain } = message
      expect(readPublish(bytes, to)).toMatchObject({ topic, payload, retain, qos, dup: false })
      expect([out.n, out.isV5(0), out.isKept(0)]).toEqual([1, to === 5, kept])
      if (qos > 0) expect(out.identifierAt(0)).toBe(bytes.length - payload.length - propertyBytes(bytes, to) - 2)
    }),
  )
})

function propertyBytes(packet: Buffer, version: 4 | 5): number {
  if (version === 4) return 0
  return properties(...readPublish(packet, 5).properties.map(({ id, value }) => Buffer.concat([Buffer.from([id]), value]))).length
}

test("the Message Expiry Interval is found among any properties", () => {
  fc.assert(
    fc.property(published, ([version, message]) => {
      const frames = framesOf(packetOf(version, message), version === 5)
      expect(expirySecondsOf(frames, 0)).toBe(message.expiry ?? Infinity)
    }),
  )
})

const check = (block: Buffer, owner: PropertyOwner = "PUBLISH"): ReturnType<typeof checkProperties> =>
  // bytes behind the properties belong to what follows them
  checkProperties(Buffer.concat([Buffer.from([255]), block, Buffer.alloc(9, 1)]), 1, 1 + block.length, owner)

test("properties of a PUBLISH pass the check in any order; cut short, twice or where they may not be they do not", () => {
  let found = 0
  fc.assert(
    fc.property(messages(5), fc.nat(), ({ properties: block, expiry }, at) => {
      expect(check(block)).toEqual({ messageExpirySeconds: expiry ?? undefined, topicAlias: undefined })
      const ends = new Set<number>([0])
      let end = 0
      for (const { id, value } of readPublish(packetOf(5, { ...EMPTY, properties: block }), 5).properties) {
        ends.add((end += 1 + value.length))
        if (id === 38) continue
        found++
        const twice = Buffer.concat([block, Buffer.from([id]), value])
        expect(() => check(twice)).toThrow(/stands twice/)
        expect(() => check(twice.subarray(block.length), "UNSUBSCRIBE")).toThrow(/is not allowed in UNSUBSCRIBE/)
      }
      const short = at % (block.length + 1)
      if (!ends.has(short)) expect(() => check(block.subarray(0, short))).toThrow(PacketError)
    }),
  )
  expect(found).toBeGreaterThan(0)
})

const EMPTY: Published = {
  topic: "t",
  qos: 0,
  retain: false,
  payload: Buffer.alloc(0),
  packetId: 1,
  properties: Buffer.alloc(0),
  expiry: null,
}
