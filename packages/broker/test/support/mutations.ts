import { Random } from "@mqtt-trio/torture"
import { pubcomp, pubrec, pubrel } from "./messages.js"
import { fullConnect } from "./will.js"
import { DISCONNECT, long, packet, PINGREQ, properties, puback, publish, sessionExpiry, subscribe, word } from "./wire.js"

const TOPICS = ["fuzz/a", "fuzz/b", "fuzz/a/b", "fuzz", "$fuzz/a"]
const FILTERS = [...TOPICS, "fuzz/#", "fuzz/+", "+/a", "$share/g/fuzz/a"]
const CLIENTS = 6

/** What one hostile connection sends, all at once: valid packets, and one that was changed somewhere. */
export interface HostileStream {
  bytes: Buffer
  /** ends the connection with what it sent, or leaves the broker to it */
  ends: boolean
}

/** The stream of a seed: the same bytes each time. */
export function hostileStream(seed: number): HostileStream {
  const random = new Random(seed)
  const version = random.chance(0.5) ? 4 : 5
  const connect = connectOf(random, version)
  const packets = [connect, ...Array.from({ length: random.integer(1, 8) }, () => valid(random, version))]
  // one in six times it is the CONNECT
  const target = random.chance(1 / 6) ? 0 : random.integer(1, packets.length - 1)
  packets[target] = mutate(random, packets[target] ?? connect)
  return { bytes: Buffer.concat(packets), ends: random.chance(0.8) }
}

function connectOf(random: Random, version: 4 | 5): Buffer {
  const will = random.chance(0.3)
    ? { topic: random.pick(TOPICS), payload: "will", qos: random.pick([0, 1, 2] as const), retain: random.chance(0.3) }
    : undefined
  return fullConnect(version, {
    clientId: `fuzz-${random.integer(1, CLIENTS)}`,
    clean: random.chance(0.5),
    keepAlive: random.integer(0, 60),
    properties: properties(sessionExpiry(random.integer(0, 2) * 100), [0x21, ...word(random.integer(1, 50))]),
    ...(will && { will }),
    ...(random.chance(0.2) && { userName: "user", password: "secret" }),
  })
}

function valid(random: Random, version: 4 | 5): Buffer {
  const packetId = random.integer(1, 20)
  const block = random.chance(0.5) ? properties() : properties([2, ...long(100)], [3], "text", [0x26], "k", "v")
  const makers: (() => Buffer)[] = [
    () =>
      publish(version, {
        topic: random.pick(TOPICS),
        qos: random.pick([0, 1, 2] as const),
        packetId,
        payload: "x".repeat(random.scaled(1, 3000)),
        retain: random.chance(0.2),
        properties: block,
      }),
    () => subscribe(version, packetId, [random.pick(FILTERS), random.integer(0, 2)], [random.pick(FILTERS), random.integer(0, 2)]),
    () => packet(0xa2, word(packetId), version === 5 ? [0] : [], random.pick(FILTERS)),
    () => random.pick([puback, pubrec, pubrel, pubcomp])(packetId),
    () => PINGREQ,
    () => DISCONNECT,
  ]
  return random.pick(random.chance(0.6) ? makers.slice(0, 2) : makers)()
}

/** Changes a packet: bits, bytes, its length field, its end; or puts something in. */
function mutate(random: Random, bytes: Buffer): Buffer {
  const out = Buffer.from(bytes)
  const at = random.integer(0, out.length - 1)
  switch (random.integer(0, 6)) {
    case 0: // a bit
      out[at] = (out[at] ?? 0) ^ (1 << random.integer(0, 7))
      return out
    case 1: // a byte
      out[at] = random.pick([0, 1, 0x7f, 0x80, 0xff, random.integer(0, 255)])
      return out
    case 2: // the Remaining Length
      out[1] = random.integer(0, 255)
      return out
    case 3: // cut
      return out.subarray(0, at)
    case 4: // bytes put in
      return Buffer.concat([out.subarray(0, at), randomBytes(random, random.scaled(1, 40)), out.subarray(at)])
    case 5: // a piece twice, the length is right
      return relength(Buffer.concat([out.subarray(0, at), out.subarray(random.integer(0, at))]))
    default: // a byte, the length is right
      out[at] = random.integer(0, 255)
      return relength(out)
  }
}

function randomBytes(random: Random, count: number): Buffer {
  return Buffer.from(Array.from({ length: count }, () => random.integer(0, 255)))
}

/** Writes the Remaining Length anew where it takes one byte; longer packets stay as they are. */
function relength(bytes: Buffer): Buffer {
  if (bytes.length >= 2 && bytes.length - 2 < 128) bytes[1] = bytes.length - 2
  return bytes
}
