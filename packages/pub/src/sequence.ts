import { randomBytes } from "node:crypto"
import { SEQUENCE_PROPERTY, stampPayload, usageError, type Properties } from "@mqtt-trio/common"

const MAX_TOPICS = 100_000

/** Stamps messages with this publisher's name and a counter for each topic: in a user property, before MQTT 5 in front of the payload. */
export class Sequence {
  private readonly publisher = randomBytes(4).toString("hex")
  private readonly counters = new Map<string, number>()
  private readonly inPayload: boolean

  constructor(version: number) {
    this.inPayload = version < 5
  }

  /** The stamped payload and the property to add. */
  stamp(topic: string, payload: Buffer): { payload: Buffer; properties: Properties } {
    const next = (this.counters.get(topic) ?? 0) + 1
    if (next === 1 && this.counters.size >= MAX_TOPICS) throw usageError(`--seq counts at most ${MAX_TOPICS} topics`)
    this.counters.set(topic, next)
    const stamp = `${this.publisher} ${next}`
    if (this.inPayload) return { payload: stampPayload(stamp, payload), properties: {} }
    return { payload, properties: { userProperties: [[SEQUENCE_PROPERTY, stamp]] } }
  }
}
