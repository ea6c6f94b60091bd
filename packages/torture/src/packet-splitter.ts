/** A whole packet: its first byte and the bytes after the Remaining Length. */
export interface RawPacket {
  head: number
  body: Buffer
}

const NO_BYTES = Buffer.alloc(0)

/** Cuts a byte stream into packets. The bodies are views of the chunk: valid until the caller lets go of them. */
export class PacketSplitter {
  private rest: Buffer = NO_BYTES

  /** Calls `take` for every packet that is complete with `chunk`; throws RangeError for a malformed Remaining Length. */
  push(chunk: Buffer, take: (packet: RawPacket) => void): void {
    const bytes = this.rest.length > 0 ? Buffer.concat([this.rest, chunk]) : chunk
    let offset = 0
    for (;;) {
      const size = remainingLength(bytes, offset + 1)
      if (!size || size.end + size.value > bytes.length) break
      const body = bytes.subarray(size.end, size.end + size.value)
      take({ head: bytes[offset] ?? 0, body })
      offset = size.end + size.value
    }
    this.rest = offset === bytes.length ? NO_BYTES : bytes.subarray(offset)
  }
}

function remainingLength(bytes: Buffer, from: number): { value: number; end: number } | undefined {
  let value = 0
  for (let n = 0; n < 4; n++) {
    const byte = bytes[from + n]
    if (byte === undefined) return undefined
    value |= (byte & 127) << (7 * n)
    if (byte < 128) return { value, end: from + n + 1 }
  }
  throw new RangeError("a Remaining Length of more than four bytes")
}
