import { Checker, type StoredQos, type Verdict } from "@mqtt-trio/torture"
import { numberOf } from "./messages.js"
import type { Publication } from "./read.js"

/** The checker for one topic that one publisher numbers from 1 on, and one session that a Peer plays. */
export class CheckedTopic {
  private readonly checker = new Checker()
  private readonly stream: number
  private readonly session: number

  constructor(topic: string, qos: StoredQos) {
    this.stream = this.checker.addStream({ publisher: "the publisher", topic, qos })
    this.session = this.checker.addSession("the session", [{ filter: topic, qos }])
    this.checker.connected(this.session, true)
  }

  /** The numbers 1 to `count` are published, and acknowledged in the end. */
  published(count: number): void {
    for (let n = 0; n < count; n++) this.checker.published(this.stream, n, 1)
    for (let n = 0; n < count; n++) this.checker.acknowledged(this.stream, n)
  }

  delivered(message: Publication): void {
    const { topic, qos, dup, packetId } = message
    this.checker.delivered(this.session, { stream: this.stream, n: numberOf(message) - 1, topic, qos, dup, packetId })
  }

  /** PUBACK or PUBCOMP leaves: the identifier is free. */
  released(packetId: number): void {
    this.checker.released(this.session, packetId)
  }

  verdict(): Verdict {
    return this.checker.verdict()
  }
}
