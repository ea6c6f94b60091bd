import { isUtf8 } from "node:buffer"
import { readFileSync } from "node:fs"
import { buffer } from "node:stream/consumers"
import { bytesOf, CliError, messageOf, propertiesFor, quoted, textOf, usageError } from "@mqtt-trio/common"
import type { PubPlan } from "./rules.js"
import { compileTemplate, type Template } from "./template.js"

/** Largest payload that fits a packet (MQTT 5.0 section 1.5.5: 268,435,455 bytes of remaining length). */
const MAX_PAYLOAD_BYTES = 268_435_455

/** Makes the topic and payload of the message number `n`; `line` is the line of stdin for `-l`. */
export interface MessageMaker {
  topic(n: number, line?: Buffer): string
  payload(n: number, line?: Buffer): Buffer
}

/** Prepares the messages: reads the file or stdin, compiles the templates. Throws a usage error for what cannot be read or is too large. */
export async function prepareMessages(plan: PubPlan): Promise<MessageMaker> {
  const { values, source } = plan
  const text = source.kind === "text" || source.kind === "lines" ? source.text : undefined
  const topicTemplate = values.template ? compileTemplate(plan.topic) : undefined
  const template = values.template && text !== undefined ? compileTemplate(text) : undefined
  const isText = values.payloadFormat || propertiesFor("publish", values.property).some((given) => given.payloadFormatIndicator)
  const check = (payload: Buffer): Buffer => checkPayload(payload, isText)
  const fixed = check(await fixedPayload(plan))
  return {
    topic: (n, line) => (topicTemplate === undefined ? plan.topic : filled(topicTemplate, n, line)),
    payload: (n, line) => (template === undefined ? check(line ?? fixed) : check(bytesOf(filled(template, n, line)))),
  }
}

function filled(compiled: Template, n: number, line: Buffer | undefined): string {
  return compiled({ n, line: line === undefined ? undefined : textOf(line) })
}

async function fixedPayload({ source }: PubPlan): Promise<Buffer> {
  if (source.kind === "text") return bytesOf(source.text)
  if (source.kind === "file") return readPayload(source.path)
  if (source.kind === "stdin") return buffer(process.stdin)
  return Buffer.alloc(0)
}

function readPayload(path: string): Buffer {
  try {
    return readFileSync(bytesOf(path))
  } catch (error) {
    throw new CliError("usage", `cannot read ${quoted(path)}: ${messageOf(error)}`, { cause: error })
  }
}

function checkPayload(payload: Buffer, isText: boolean): Buffer {
  if (payload.length > MAX_PAYLOAD_BYTES) {
    throw usageError(`a message of ${payload.length} bytes is too large`, `MQTT carries at most ${MAX_PAYLOAD_BYTES} bytes in one message`)
  }
  if (isText && !isUtf8(payload)) throw usageError("the message is not UTF-8 text", "leave out --payload-format")
  return payload
}
