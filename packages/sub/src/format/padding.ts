/** What stands between `%` and the letter. */
export interface Field {
  /** Left-aligned (`-`). */
  readonly left: boolean
  /** Padded with zeros (`0`). */
  readonly zero: boolean
  readonly width: number
  /** At most so many bytes, where the parameter has a maximum. */
  readonly precision: number | undefined
  /** Between the bytes of `%x` and `%X`. */
  readonly separator: string
}

/** A number as printf pads it; an absent one is all padding. */
export function padNumber(value: number | undefined, { left, zero, width }: Field): Buffer {
  if (value === undefined) return Buffer.from((zero ? "0" : " ").repeat(width))
  const text = String(value)
  if (left) return Buffer.from(text.padEnd(width))
  return Buffer.from(text.padStart(width, zero ? "0" : " "))
}

/** A text as printf pads and cuts it, counted in bytes. */
export function padText(value: string | undefined, { left, width, precision }: Field): Buffer {
  const whole = Buffer.from(value ?? "")
  return padBytes(precision === undefined ? whole : whole.subarray(0, precision), width, left, " ")
}

/**
 * The payload, raw or in hexadecimal. As in mosquitto_sub a width is also a limit: so many bytes, or hexadecimal digits of which two
 * make a byte that is shown whole or not at all.
 */
export function payloadField(payload: Buffer, form: "raw" | "hex" | "HEX", { left, zero, width, separator }: Field): Buffer {
  const pad = zero ? "0" : " "
  if (form === "raw") return padBytes(width > 0 ? payload.subarray(0, width) : payload, width, left, pad)
  const shown = width > 0 ? payload.subarray(0, Math.floor(Math.min(payload.length, width) / 2)) : payload
  const digits = form === "hex" ? shown.toString("hex") : shown.toString("hex").toUpperCase()
  const text = separator === "" ? digits : digits.replaceAll(/(..)(?=.)/g, `$1${separator}`)
  return padBytes(Buffer.from(text), width, left, pad)
}

function padBytes(bytes: Buffer, width: number, left: boolean, pad: string): Buffer {
  const missing = width - bytes.length
  if (missing <= 0) return bytes
  const padding = Buffer.alloc(missing, left ? " " : pad)
  return Buffer.concat(left ? [bytes, padding] : [padding, bytes])
}
