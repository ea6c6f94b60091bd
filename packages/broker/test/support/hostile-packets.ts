import { connect, hex, packet, properties, publish, subscribe, varint, word } from "./wire.js"

/** A first packet that no client should send, and what it is. */
export type Hostile = [name: string, bytes: Buffer]

/** The same numbers for the same seed (mulberry32). */
function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

function randomBytes(count: number): Hostile[] {
  const next = generator(5112)
  return Array.from({ length: count }, (_, n) => {
    const bytes = Buffer.from(Array.from({ length: 1 + Math.floor(next() * 400) }, () => Math.floor(next() * 256)))
    return [`random bytes ${n}`, bytes]
  })
}

/** A CONNECT with one byte changed. */
function flipped(count: number): Hostile[] {
  const next = generator(1883)
  return Array.from({ length: count }, (_, n) => {
    const bytes = connect(n % 2 ? 5 : 4, { clientId: "flipped" })
    bytes[Math.floor(next() * bytes.length)] = Math.floor(next() * 256)
    return [`a byte changed ${n}`, bytes]
  })
}

function truncated(): Hostile[] {
  const whole = connect(5, { clientId: "cut", properties: properties([0x11, 0, 0, 0, 9], [0x21, 0, 9]) })
  return Array.from({ length: whole.length - 2 }, (_, n) => {
    const body = whole.subarray(2, 2 + n)
    return [`CONNECT cut to ${n} bytes, its length says so`, Buffer.concat([hex("10"), varint(n), body])]
  })
}

const BY_HAND: Hostile[] = [
  ["256 MB announced, CONNECT", hex("10 ff ff ff 7f")],
  ["256 MB announced, CONNECT, with a beginning", Buffer.concat([hex("10 ff ff ff 7f"), Buffer.alloc(60_000, 0x41)])],
  ["256 MB announced, PUBLISH", hex("30 ff ff ff 7f")],
  ["1 MB announced, CONNECT", Buffer.concat([hex("10"), varint(1_000_000), Buffer.alloc(200_000)])],
  ["a Remaining Length of five bytes", hex("10 ff ff ff ff 01")],
  ["a Remaining Length that is not in its shortest form", hex("10 80 80 80 00")],
  ["an HTTP request", Buffer.from("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")],
  ["a TLS hello", hex("16 03 01 02 00 01 00 01 fc 03 03")],
  ["nothing but zeros", Buffer.alloc(1000)],
  ["nothing but ones", Buffer.alloc(1000, 255)],
  ["another protocol", packet(0x10, "AMQP", [4, 2, 0, 0], "a")],
  ["an empty protocol name", packet(0x10, "", [4, 2, 0, 0], "a")],
  ["a protocol name of 65,535 bytes", packet(0x10, "M".repeat(65_535), [4, 2, 0, 0], "a")],
  ["protocol level 0", packet(0x10, "MQTT", [0, 2, 0, 0], "a")],
  ["protocol level 6", packet(0x10, "MQTT", [6, 2, 0, 0], "a")],
  ["protocol level 255", packet(0x10, "MQTT", [255, 2, 0, 0], "a")],
  ["the bridge bit of protocol level 4", packet(0x10, "MQTT", [0x84, 2, 0, 0], "a")],
  ["reserved connect flag", packet(0x10, "MQTT", [4, 3, 0, 0], "a")],
  ["Will QoS 3", packet(0x10, "MQTT", [4, 0x1e, 0, 0], "a", "w", "x")],
  ["Will Retain without Will Flag", packet(0x10, "MQTT", [4, 0x22, 0, 0], "a")],
  ["a will without topic", packet(0x10, "MQTT", [4, 6, 0, 0], "a")],
  ["a wildcard in the Will Topic", packet(0x10, "MQTT", [4, 6, 0, 0], "a", "w/#", "x")],
  ["a password without a user name", packet(0x10, "MQTT", [4, 0x42, 0, 0], "a", "secret")],
  ["a user name that is missing", packet(0x10, "MQTT", [4, 0x82, 0, 0], "a")],
  ["a client identifier that is not UTF-8", packet(0x10, "MQTT", [4, 2, 0, 0], word(2), hex("ff fe"))],
  ["a client identifier with U+0000", packet(0x10, "MQTT", [4, 2, 0, 0], "a\0b")],
  ["a client identifier with half a surrogate pair", packet(0x10, "MQTT", [4, 2, 0, 0], word(3), hex("eda080"))],
  ["a client identifier longer than the packet", packet(0x10, "MQTT", [4, 2, 0, 0], word(60_000), hex("61"))],
  ["bytes behind the payload", Buffer.concat([packet(0x10, "MQTT", [4, 2, 0, 0], "a", [1, 2, 3])])],
  ["an unknown property", connect(5, { properties: properties([0x7e, 0]) })],
  ["a property that is no CONNECT property", connect(5, { properties: properties([0x0b, 1]) })],
  ["Session Expiry Interval twice", connect(5, { properties: properties([0x11, 0, 0, 0, 1, 0x11, 0, 0, 0, 1]) })],
  ["Receive Maximum 0", connect(5, { properties: properties([0x21, 0, 0]) })],
  ["Maximum Packet Size 0", connect(5, { properties: properties([0x27, 0, 0, 0, 0]) })],
  ["Request Problem Information 2", connect(5, { properties: properties([0x17, 2]) })],
  ["authentication data without a method", connect(5, { properties: properties([0x16], "x") })],
  ["a property length past the end", packet(0x10, "MQTT", [5, 2, 0, 0], [100], "a")],
  ["a property length of five bytes", packet(0x10, "MQTT", [5, 2, 0, 0], hex("ffffffff01"), "a")],
  [
    "20,000 User Properties",
    connect(5, { properties: properties(Buffer.concat(Array.from({ length: 12_000 }, () => hex("26 0000 0000")))) }),
  ],
  ["PUBLISH first", publish(4, { topic: "a", qos: 1 })],
  ["SUBSCRIBE first", subscribe(4, 1, ["#", 0])],
  ["AUTH first", hex("f0 00")],
]

const EVERY_TYPE: Hostile[] = Array.from({ length: 16 }, (_, type): Hostile => [`packet type ${type} first`, Buffer.from([type << 4, 0])])

const WRONG_FLAGS: Hostile[] = Array.from({ length: 15 }, (_, n): Hostile => {
  const bytes = connect(4, { clientId: "flags" })
  bytes[0] = 0x10 | (n + 1)
  return [`CONNECT with flags ${n + 1}`, bytes]
})

/** 200 first packets and more. */
export const HOSTILE: Hostile[] = [...BY_HAND, ...EVERY_TYPE, ...WRONG_FLAGS, ...truncated(), ...flipped(50), ...randomBytes(80)]
