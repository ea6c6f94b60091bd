import type { Properties, UserProperties } from "@mqtt-trio/common"
import { generate, parser, type IConnectPacket, type Packet } from "mqtt-packet"

/*
 * What mqtt-packet, the codec of MQTT.js, does not do by itself.
 */

/** A packet with its User Properties as pairs. */
export type Ordered<P extends { properties?: object | undefined }> = Omit<P, "properties"> & {
  readonly properties?: (Omit<NonNullable<P["properties"]>, "userProperties"> & { readonly userProperties?: UserProperties }) | undefined
}

/** Properties as MQTT.js takes them, and may change them: it takes topic aliases out of what it stores. */
export type WireProperties = Omit<Properties, "userProperties">

/**
 * A copy for MQTT.js. User Properties become an array with an object for each pair: mqtt-packet writes the items of an array one after
 * the other, but the members of one object with numbers first and equal names together [MQTT-3.1.3-10].
 */
export function wireProperties({ userProperties, ...rest }: Properties): WireProperties {
  return userProperties === undefined
    ? rest
    : Object.assign(rest, { userProperties: userProperties.map(([name, text]) => ({ [name]: text })) })
}

/** The packet as {@link keepUserPropertiesInOrder} makes mqtt-packet read it. */
export function ordered<P extends { properties?: object | undefined }>(packet: P): Ordered<P> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the parser puts pairs where its types say an object
  return packet as unknown as Ordered<P>
}

/** Makes every parser of mqtt-packet in this process give User Properties as pairs in the order in which they came. */
export function keepUserPropertiesInOrder(): void {
  const prototype: unknown = Object.getPrototypeOf(parser())
  if (typeof prototype !== "object" || prototype === null) throw new Error("mqtt-packet has no parser any more")
  let pairs: (readonly [string, string])[] = []
  override(prototype, "_parseStringPair", (read) => {
    const pair = read()
    if (typeof pair === "object" && pair !== null && "name" in pair && "value" in pair) pairs.push([String(pair.name), String(pair.value)])
    return pair
  })
  override(prototype, "_parseProperties", (read) => {
    pairs = []
    const properties = read()
    if (pairs.length > 0 && typeof properties === "object") Object.assign(properties ?? {}, { userProperties: pairs })
    return properties
  })
}

/** The size of a packet on the wire, all of it. */
export function packetSize(packet: Packet, protocolVersion: number): number {
  const payload = packet.cmd === "publish" ? Buffer.byteLength(packet.payload) : 0
  const head = generate({ ...packet, ...(packet.cmd === "publish" ? { payload: NO_BYTES } : {}) }, { protocolVersion })
  const remaining = head.length - fixedHeaderLength(head) + payload
  return 1 + variableByteInteger(remaining).length + remaining
}

/**
 * A CONNECT with a password and no user name, which MQTT 5.0 allows (3.1.2.9) and mqtt-packet refuses to write: one with an empty user
 * name, without these two bytes and the bit of the Connect Flags.
 */
export function connectWithoutUserName(packet: IConnectPacket): Buffer {
  const bytes = generate({ ...packet, username: "" }, { protocolVersion: 5 })
  const password = 2 + Buffer.byteLength(packet.password ?? "")
  const body = Buffer.concat([bytes.subarray(fixedHeaderLength(bytes), -password - 2), bytes.subarray(-password)])
  body.writeUInt8(body.readUInt8(CONNECT_FLAGS) & ~USER_NAME_FLAG, CONNECT_FLAGS)
  return Buffer.concat([bytes.subarray(0, 1), variableByteInteger(body.length), body])
}

const NO_BYTES = Buffer.alloc(0)
/** Behind the protocol name and version (MQTT 5.0 section 3.1.2). */
const CONNECT_FLAGS = 7
const USER_NAME_FLAG = 0x80

/** MQTT 5.0 section 1.5.5. */
function variableByteInteger(value: number): Buffer {
  const bytes: number[] = []
  for (let rest = value; rest > 0 || bytes.length === 0; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + (rest >= 128 ? 128 : 0))
  return Buffer.from(bytes)
}

function fixedHeaderLength(bytes: Buffer): number {
  return bytes.findIndex((byte, index) => index > 0 && byte < 0x80) + 1
}

function override(prototype: object, name: string, reader: (read: () => unknown) => unknown): void {
  const original: unknown = Reflect.get(prototype, name)
  if (typeof original !== "function") throw new Error(`mqtt-packet has no ${name} any more`)
  Reflect.set(prototype, name, function readOrdered(this: unknown): unknown {
    return reader(() => Reflect.apply(original, this, []))
  })
}
