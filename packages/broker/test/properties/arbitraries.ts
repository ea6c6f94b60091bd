import * as fc from "fast-check"
import { long, properties, publish, varint, type Part } from "../support/wire.js"

/** How often a property is tried where it does not say it: all of them together take less than 5 s. */
fc.configureGlobal({ numRuns: 60 })

const LEVEL = fc.constantFrom("a", "b", "", "ä", "$x", "__proto__", "constructor")

/** Topic Names of few levels, so that they often meet. */
export const topicNames = fc
  .array(LEVEL, { minLength: 1, maxLength: 4 })
  .map((levels) => levels.join("/"))
  .filter((topic) => topic !== "")

/** Topic Filters with and without wildcards. */
export const topicFilters = fc
  .tuple(fc.array(fc.oneof(LEVEL, fc.constant("+")), { minLength: 0, maxLength: 4 }), fc.boolean())
  .map(([levels, all]) => [...levels, ...(all ? ["#"] : [])].join("/"))
  .filter((filter) => filter !== "" && !filter.startsWith("$share/"))

export const qualities = fc.constantFrom(0, 1, 2)

/** A message as it is published, and the packet that its publisher sends. */
export interface Published {
  topic: string
  qos: 0 | 1 | 2
  retain: boolean
  payload: Buffer
  packetId: number
  /** bytes of the properties that are passed on (MQTT 5.0 only), without their length */
  properties: Buffer
  /** Message Expiry Interval, null: none */
  expiry: number | null
}

const TEXT = fc.string({ unit: "grapheme", maxLength: 5 }).filter((text) => !text.includes("\0"))

const expiries = fc.option(fc.nat({ max: 0xffff_ffff }), { nil: null })
const property = (id: number, value: fc.Arbitrary<Part>): fc.Arbitrary<Buffer[]> =>
  fc.array(
    value.map((part) => withoutLength([id], part)),
    { maxLength: 1 },
  )

/** The properties of a PUBLISH that are passed on, each at most once but for User Properties, in any order. */
const propertyLists = fc
  .tuple(
    expiries,
    property(1, fc.constantFrom([0], [1])),
    property(3, TEXT),
    property(8, topicNames),
    property(9, TEXT),
    fc.array(
      fc.tuple(TEXT, TEXT).map((pair) => withoutLength([38], ...pair)),
      { maxLength: 3 },
    ),
  )
  .chain(([expiry, ...lists]) => {
    const blocks = [...lists.flat(), ...(expiry === null ? [] : [withoutLength([2], long(expiry))])]
    return fc.shuffledSubarray(blocks, { minLength: blocks.length }).map((all) => ({ properties: Buffer.concat(all), expiry }))
  })

function withoutLength(...parts: Part[]): Buffer {
  const block = properties(...parts)
  return block.subarray(varint(block.length - 1).length)
}

/** Most payloads are short; some take two bytes of Remaining Length, and some more than a small copy. */
const payloads = fc
  .tuple(fc.oneof({ weight: 4, arbitrary: fc.nat({ max: 20 }) }, { weight: 1, arbitrary: fc.integer({ min: 90, max: 300 }) }), fc.nat(255))
  .map(([size, byte]) => Buffer.alloc(size, byte))

/** Messages of MQTT 5.0 with properties, of 3.1.1 without. */
export function messages(version: 4 | 5): fc.Arbitrary<Published> {
  return fc
    .record({
      topic: topicNames,
      qos: fc.constantFrom(0 as const, 1 as const, 2 as const),
      retain: fc.boolean(),
      payload: payloads,
      packetId: fc.integer({ min: 1, max: 65_535 }),
    })
    .chain((message) =>
      version === 4
        ? fc.constant({ ...message, properties: Buffer.alloc(0), expiry: null })
        : propertyLists.map((list) => ({ ...message, ...list })),
    )
}

export function packetOf(version: 4 | 5, { properties: block, ...message }: Published & { dup?: boolean }): Buffer {
  return publish(version, { ...message, properties: properties(block) })
}

/** Cuts a stream into pieces of these sizes, the sizes again and again. */
export function cut(stream: Buffer, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = []
  for (let at = 0, k = 0; at < stream.length; k++) {
    const end = at + Math.max(1, sizes[k % sizes.length] ?? 1)
    // a copy, since a publisher's DUP is taken out where it lies
    chunks.push(Buffer.from(stream.subarray(at, end)))
    at = end
  }
  return chunks
}

export const cuts = fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 10 })
