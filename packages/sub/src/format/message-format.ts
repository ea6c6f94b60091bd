import { escapeControls } from "@mqtt-trio/common"
import type { ReceivedMessage } from "@mqtt-trio/client"
import type { SubValues } from "../rules.js"
import { arrivalNow } from "./clock.js"
import { compileFormat, type FormatOptions } from "./format-language.js"
import { jsonMessage, type PayloadEncoding } from "./json-message.js"

/** Renders one message with its end of line; undefined when there is nothing to print. */
export type MessageFormat = (message: ReceivedMessage) => readonly Buffer[] | undefined

export interface OutputOptions {
  /** The output is a terminal: control characters are shown, not obeyed. */
  readonly terminal: boolean
  readonly complain: FormatOptions["complain"]
}

const NEWLINE = Buffer.from("\n")

/** The format that the command line asks for: payload alone, `-v`, `-F`, `--json`; payloads raw, `--hex` or `--base64`. */
export function messageFormat(values: SubValues, options: OutputOptions): MessageFormat {
  const safe = options.terminal && !values.raw ? safeForTerminal : same
  const end = values.noEol ? [] : [NEWLINE]
  if (values.format !== undefined) {
    const format = compileFormat(values.format, { pretty: values.pretty, complain: options.complain })
    return (message) => [safe(format(message, arrivalNow())), ...end]
  }
  const encoding = payloadEncoding(values)
  if (values.json)
    return (message) => [Buffer.from(jsonMessage(message, arrivalNow(), { encoding, nameEncoding: true, pretty: values.pretty })), ...end]
  const encode = encoding === undefined ? same : (payload: Buffer) => Buffer.from(payload.toString(encoding))
  if (!values.verbose) return ({ payload }) => (payload.length === 0 ? undefined : [safe(encode(payload)), ...end])
  return ({ topic, payload }) => {
    if (payload.length > 0) return [safe(Buffer.from(`${topic} `)), safe(encode(payload)), ...end]
    return values.noEol ? undefined : [safe(Buffer.from(`${topic} (null)`)), ...end]
  }
}

function payloadEncoding({ hex, base64 }: SubValues): Exclude<PayloadEncoding, "utf8" | "json"> | undefined {
  if (hex) return "hex"
  return base64 ? "base64" : undefined
}

function same(bytes: Buffer): Buffer {
  return bytes
}

/** What a terminal can be shown: line feeds and tabs stay, other control characters become \xNN, bytes that are not UTF-8 become U+FFFD. */
function safeForTerminal(bytes: Buffer): Buffer {
  return Buffer.from(escapeControls(bytes.toString()))
}
