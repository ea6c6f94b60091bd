/** User property that carries the stamp of `mqtt-pub --seq`: the publisher's name, a space, a counter for each topic from 1. */
export const SEQUENCE_PROPERTY = "mqtt-seq"

const PREFIX = /^\[mqtt-seq ([0-9a-f]+ \d+)\] /
const LONGEST_PREFIX = 64

/** The stamp in front of a payload, for versions of MQTT that have no user properties. */
export function stampPayload(stamp: string, payload: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`[${SEQUENCE_PROPERTY} ${stamp}] `), payload])
}

/** The stamp that {@link stampPayload} put in front and the payload without it; undefined when there is none. */
export function unstampPayload(payload: Buffer): { stamp: string; payload: Buffer } | undefined {
  const match = PREFIX.exec(payload.toString("latin1", 0, LONGEST_PREFIX))
  if (match?.[1] === undefined) return undefined
  return { stamp: match[1], payload: payload.subarray(match[0].length) }
}
