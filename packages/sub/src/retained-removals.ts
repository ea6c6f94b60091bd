import { quoted, type Diagnostics } from "@mqtt-trio/common"
import type { ClientConnection, ReceivedMessage } from "@mqtt-trio/client"

/** `--remove-retained`: removes a retained message at the broker once it is written out, as an acknowledgement would be sent then. */
export class RetainedRemovals {
  private readonly waiting: { readonly topic: string; readonly number: number }[] = []
  /** How many were sent at QoS 1 and are not acknowledged. */
  private unacknowledged = 0
  private drained: () => void = () => undefined

  /** The message with this number, from 1, was given to the writer. */
  add({ topic, payload }: ReceivedMessage, number: number): void {
    if (payload.length > 0) this.waiting.push({ topic, number })
  }

  /** The first `count` messages are written out. */
  written(count: number, connection: ClientConnection, diagnostics: Diagnostics): void {
    for (let next = this.waiting[0]; next !== undefined && next.number <= count; next = this.waiting[0]) {
      this.waiting.shift()
      this.remove(next.topic, connection, diagnostics)
    }
  }

  /** Resolves when all that was sent is acknowledged, or after this time. */
  async done(limitMs: number): Promise<void> {
    if (this.unacknowledged === 0) return
    await new Promise<void>((resolve) => {
      const limit = setTimeout(resolve, limitMs)
      this.drained = () => {
        clearTimeout(limit)
        resolve()
      }
    })
  }

  private remove(topic: string, connection: ClientConnection, diagnostics: Diagnostics): void {
    const { receiveMaximum = Infinity, maximumQoS = 2 } = connection.connack.properties ?? {}
    const qos = this.unacknowledged < receiveMaximum && maximumQoS > 0 ? 1 : 0
    this.unacknowledged += qos
    connection.publish(topic, Buffer.alloc(0), { qos, retain: true }, (error) => {
      this.unacknowledged -= qos
      if (error !== undefined && error !== null)
        diagnostics.warn(`the retained message on ${quoted(topic)} was not removed: ${error.message}`)
      if (this.unacknowledged === 0) this.drained()
    })
  }
}
