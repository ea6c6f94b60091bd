import { isUtf8 } from "node:buffer"

/**
 * Whether bytes `from` to `end` are a UTF-8 string as MQTT allows it: well formed, no surrogates, no U+0000
 * (MQTT 5.0 section 1.5.4). Plain ASCII, which nearly everything is, is checked without a call into native code.
 */
export function validUtf8(buf: Buffer, from: number, end: number): boolean {
  let ascii = true
  for (let i = from; i < end; i++) {
    const byte = buf[i]!
    if (byte === 0) return false
    if (byte > 127) ascii = false
  }
  return ascii || isUtf8(buf.subarray(from, end))
}

/** Whether bytes `from` to `end`, valid UTF-8, can be a Topic Name: not empty, no wildcard (section 4.7.1). */
export function validTopicName(buf: Buffer, from: number, end: number): boolean {
  if (from === end) return false
  for (let i = from; i < end; i++) if (buf[i] === 0x2b || buf[i] === 0x23) return false
  return true
}

/** Whether a Topic Name or Topic Filter has more than `levels` levels: each costs a step when a topic is matched. */
export function tooDeep(topic: string, levels: number): boolean {
  return topic.length >= levels && topic.split("/").length > levels
}
