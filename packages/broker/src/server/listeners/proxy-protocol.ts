import { BlockList, isIPv4, isIPv6, type Socket, SocketAddress } from "node:net"
import { messageOf } from "@mqtt-trio/common"
import { malformed } from "../../wire/reason-codes.js"
import type { Arrival, Entrance, Source } from "../arrivals.js"

/** Addresses that are trusted to say for whom they connect: all that begin with the same bits. */
export interface AddressRange {
  readonly address: string
  readonly bits: number
}

/** What a PROXY header says. */
export interface ProxyHeader {
  /** its bytes */
  readonly length: number
  /** who connected to the proxy; undefined: the proxy itself, or somebody without an address */
  readonly source: Source | undefined
}

const [TEXT, BINARY] = [Buffer.from("PROXY "), Buffer.from("0d0a0d0a000d0a515549540a", "hex")]
/** Most bytes of a header of version 1, line end included. */
const TEXT_BYTES = 107
/** The same of version 2: addresses take 232 of them, the rest is what proxies add, such as a client's certificate. */
const BINARY_BYTES = 4096
/** Bytes of version 2 before the addresses. */
const HEAD_BYTES = 16

/**
 * What every TCP connection comes through first. Whoever has a trusted address must say, in a PROXY header, who connected
 * there; then the connection counts for that one, and what a proxy sends for itself counts for nobody.
 */
export function proxyEntrance(inner: Entrance, trusted: readonly AddressRange[]): Entrance {
  const proxies = new BlockList()
  for (const { address, bits } of trusted) proxies.addSubnet(address, bits, familyOf(address))
  return (socket, arrival) => {
    // a link-local address has its interface behind it
    const address = socket.remoteAddress?.replace(/%.*$/, "")
    // who reset the connection already, as health checks do, has no address any more
    if (address === undefined) socket.destroy()
    else if (proxies.check(address, familyOf(address))) expectHeader(socket, arrival, inner)
    else if (arrival.admit()) inner(socket, arrival)
  }
}

function expectHeader(socket: Socket, arrival: Arrival, inner: Entrance): void {
  let bytes = Buffer.alloc(0)
  const read = (): void => {
    const chunk: unknown = socket.read()
    if (!Buffer.isBuffer(chunk)) return // its end, perhaps
    bytes = Buffer.concat([bytes, chunk])
    const header = headerOf(bytes, arrival)
    if (!header) return
    socket.off("readable", read)
    if (header.length < bytes.length) socket.unshift(bytes.subarray(header.length))
    arrival.forwarded(header.source)
    if (header.source === undefined || arrival.admit()) inner(socket, arrival)
  }
  arrival.begin("PROXY header")
  socket.on("readable", read)
}

/** Undefined: more must come, or the connection was refused. */
function headerOf(bytes: Buffer, arrival: Arrival): ProxyHeader | undefined {
  try {
    return parseProxyHeader(bytes)
  } catch (error) {
    arrival.refuse(messageOf(error))
    return undefined
  }
}

/** Reads a header of the PROXY protocol, version 1 or 2. Undefined: more must come. Throws a PacketError. */
export function parseProxyHeader(bytes: Buffer): ProxyHeader | undefined {
  if (begins(bytes, TEXT)) return parseText(bytes)
  if (begins(bytes, BINARY)) return parseBinary(bytes)
  throw malformed("it sent no PROXY header, and --proxy-protocol names its address")
}

/** Whether the bytes, as many as there are, are those of the signature. */
function begins(bytes: Buffer, signature: Buffer): boolean {
  const length = Math.min(bytes.length, signature.length)
  return bytes.subarray(0, length).equals(signature.subarray(0, length))
}

function parseText(bytes: Buffer): ProxyHeader | undefined {
  const line = bytes.subarray(0, TEXT_BYTES)
  const end = line.indexOf("\r\n")
  if (end < 0) {
    if (line.length === TEXT_BYTES) throw wrong(`has no line end within ${TEXT_BYTES} bytes`)
    return undefined
  }
  return { length: end + 2, source: parseLine(line.toString("latin1", 0, end)) }
}

function parseLine(line: string): Source | undefined {
  const [, family, ...fields] = line.split(" ")
  if (family === "UNKNOWN") return undefined
  const isAddress = family === "TCP4" ? isIPv4 : family === "TCP6" ? isPlainIPv6 : undefined
  const [from = "", to = "", port = "", toPort = ""] = fields
  if (!isAddress?.(from) || !isAddress(to) || !isPort(port) || !isPort(toPort) || fields.length !== 4)
    throw wrong(`is not understood: ${JSON.stringify(line)}`)
  return { address: canonical(from), port: Number(port) }
}

function isPlainIPv6(text: string): boolean {
  return isIPv6(text) && !text.includes("%")
}

function isPort(text: string): boolean {
  return /^(0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65_535
}

/** Bytes of the addresses by the family in the head: IPv4, IPv6, Unix. */
const ADDRESS_BYTES = [0, 12, 36, 216] as const

function parseBinary(bytes: Buffer): ProxyHeader | undefined {
  if (bytes.length < HEAD_BYTES) return undefined
  const [head, family, size] = [bytes.readUInt8(12), bytes.readUInt8(13), bytes.readUInt16BE(14)]
  const length = HEAD_BYTES + size
  if (head >> 4 !== 2 || (head & 15) > 1) throw wrong(`has the version and command 0x${head.toString(16)}, known are 0x20 and 0x21`)
  if (length > BINARY_BYTES) throw wrong(`has ${length} bytes, the limit is ${BINARY_BYTES}`)
  const isLocal = (head & 15) === 0
  const needed = ADDRESS_BYTES[family >> 4]
  if (!isLocal && (needed === undefined || (family & 15) > 2)) throw wrong(`has an unknown kind of address, 0x${family.toString(16)}`)
  if (!isLocal && size < (needed ?? 0)) throw wrong("is too short for its addresses")
  if (bytes.length < length) return undefined
  return { length, source: isLocal || (family & 15) === 0 ? undefined : sourceOf(family >> 4, bytes.subarray(HEAD_BYTES, length)) }
}

function sourceOf(family: number, block: Buffer): Source | undefined {
  if (family === 1) return { address: block.subarray(0, 4).join("."), port: block.readUInt16BE(8) }
  if (family !== 2) return undefined
  const groups = Array.from({ length: 8 }, (_, n) => block.readUInt16BE(2 * n).toString(16))
  return { address: canonical(groups.join(":")), port: block.readUInt16BE(32) }
}

/** As the system writes it: with `::` for zeros. */
function canonical(address: string): string {
  return new SocketAddress({ address, family: familyOf(address) }).address
}

function familyOf(address: string): "ipv4" | "ipv6" {
  return isIPv4(address) ? "ipv4" : "ipv6"
}

function wrong(what: string): Error {
  return malformed(`its PROXY header ${what}`)
}
