/** How many bytes the Variable Byte Integer of `value` takes: 1 to 4 (MQTT 5.0 section 1.5.5). */
export function varintLength(value: number): number {
  return value < 128 ? 1 : value < 16_384 ? 2 : value < 2_097_152 ? 3 : 4
}

/** Writes `value` at `at` and returns the offset behind it. */
export function writeVarint(buf: Uint8Array, at: number, value: number): number {
  while (value > 127) {
    buf[at++] = (value & 127) | 128
    value >>= 7
  }
  buf[at++] = value
  return at
}

/**
 * Reads a Variable Byte Integer as `value * 8 + bytes read`: one number, so that no object is made.
 * -1: it does not end before `end`; -2: longer than four bytes or not the shortest form, both malformed (section 1.5.5).
 */
export function readVarint(buf: Uint8Array, at: number, end: number): number {
  let value = 0
  for (let i = 0; i < 4; i++) {
    if (at + i >= end) return -1
    const byte = buf[at + i]!
    value += (byte & 127) * 2 ** (7 * i)
    if (byte < 128) return byte === 0 && i > 0 ? -2 : value * 8 + i + 1
  }
  return -2
}
