import { CliError, counted, SEQUENCE_PROPERTY, unstampPayload } from "@mqtt-trio/common"
import type { ReceivedMessage } from "@mqtt-trio/client"

/** More streams, or more holes in one, than this are not followed; what is left out is said in the report. */
const MAX_STREAMS = 100_000
const MAX_MISSING = 100_000

interface Stream {
  last: number
  /** Numbers below `last` that have not come. */
  readonly missing: Set<number>
}

/** Follows the counters of `mqtt-pub --seq`, for each publisher and topic on its own. */
export class OrderCheck {
  checked = 0
  gaps = 0
  disorder = 0
  /** Repeats that QoS 1 allows. */
  repeats = 0
  /** Repeats at QoS 0 or 2, which allow none. */
  duplicates = 0
  unstamped = 0
  private readonly streams = new Map<string, Stream>()

  /** Takes a message; returns it without the stamp in its payload, if it had one there. */
  take(message: ReceivedMessage): ReceivedMessage {
    const property = message.properties?.userProperties?.findLast(([name]) => name === SEQUENCE_PROPERTY)?.[1]
    const inPayload = property === undefined ? unstampPayload(message.payload) : undefined
    const stamp = inPayload?.stamp ?? property
    const [publisher, number] = stamp?.split(" ") ?? []
    if (publisher === undefined || number === undefined) this.unstamped += 1
    else this.follow(`${publisher} ${message.topic}`, Number(number), message.qos)
    return inPayload === undefined ? message : { ...message, payload: inPayload.payload }
  }

  /** One line that sums up. */
  get summary(): string {
    const { checked, gaps, disorder, duplicates, repeats, unstamped } = this
    return `order: ${checked} checked, ${gaps} missing, ${disorder} out of order, ${counted(duplicates, "duplicate")}, ${counted(repeats, "repeat")} at QoS 1, ${unstamped} without a counter`
  }

  /** Throws when the promise was broken. */
  verify(): void {
    if (this.gaps + this.disorder + this.duplicates > 0) throw new CliError("check-failed", this.summary)
  }

  private follow(key: string, number: number, qos: number): void {
    this.checked += 1
    const stream = this.streams.get(key)
    if (stream === undefined) {
      if (this.streams.size < MAX_STREAMS) this.streams.set(key, { last: number, missing: new Set() })
      return
    }
    if (number > stream.last) {
      for (let missing = stream.last + 1; missing < number; missing += 1) {
        this.gaps += 1
        if (stream.missing.size < MAX_MISSING) stream.missing.add(missing)
      }
      stream.last = number
    } else if (stream.missing.delete(number)) {
      this.gaps -= 1
      this.disorder += 1
    } else if (qos === 1) this.repeats += 1
    else this.duplicates += 1
  }
}
