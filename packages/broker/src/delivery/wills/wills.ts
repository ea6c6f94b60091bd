import { startTimer } from "@mqtt-trio/common"
import { framesOf } from "../../wire/publish.js"
import type { Frames } from "../../wire/frames.js"
import type { WillRow } from "../../stores/store.js"
import type { Place } from "../../accounting/tally.js"
import type { GroupCommit } from "../logs/group-commit.js"

/** The Will of one network connection (MQTT 5.0 section 3.1.2.5). */
export interface Will {
  clientId: string
  /** whose client it is; undefined: it was anonymous */
  user: string | undefined
  /** Will Delay Interval in seconds; the end of the Session ends it */
  delaySeconds: number
  /** the message as a PUBLISH packet, in the client's version */
  packet: Buffer
  v5: boolean
  /** where the client is */
  place: Place
}

export interface ArmedWill extends Will {
  /** its key in the store */
  readonly id: number
}

/** What a Will takes in memory: its packet, the names, a timer. */
export function costOf({ clientId, packet }: Pick<Will, "clientId" | "packet">): number {
  return packet.length + clientId.length + 500
}

/** A Will whose delay runs. */
export interface DelayedWill {
  readonly will: ArmedWill
  /** when it is over, in ms of the monotonic clock */
  readonly due: number
}

/**
 * Wills that may have to be sent. Each is in the store from CONNECT on, under a number of its own, so that it is sent
 * too when the broker dies; sending it and removing it is one commit.
 */
export class Wills {
  /** away, and the Will Delay Interval runs, by Client Identifier */
  private readonly delayed = new Map<string, DelayedWill & { cancel: () => void }>()

  /** sent once the store has room, by Client Identifier: how many */
  private readonly waiting = new Map<string, number>()

  /** @param publish accepts a message as if its client published it; false: the store has no room for it */
  constructor(
    private readonly commits: GroupCommit,
    private readonly publish: (message: Frames, will: Will) => boolean,
  ) {}

  /** Whether a Will of this client waits for room in the store. */
  waits(clientId: string): boolean {
    return this.waiting.has(clientId)
  }

  /** A connection with a Will was accepted. In the store with the gathering commit. */
  arm(will: Will): ArmedWill {
    const armed = { ...will, id: this.commits.newId() }
    this.write(armed)
    return armed
  }

  private write(will: ArmedWill): void {
    const { id, clientId, user, delaySeconds, v5, packet } = will
    will.place.keeping.add("wills", costOf(will))
    this.commits.writeWill(id, { clientId, user, delaySeconds, v5, packet: packet.toString("base64") })
  }

  /**
   * It is not sent: the client left in order [MQTT-3.14.4-3], or was never told that its CONNECT was accepted. Out of the store
   * with the gathering commit.
   */
  disarm(will: ArmedWill): void {
    will.place.keeping.add("wills", -costOf(will))
    this.commits.writeWill(will.id, undefined)
  }

  /** The connection ended without leave: the Will is sent, now or when its delay is over. `sessionGoesOn`: else nothing delays it. */
  lost(will: ArmedWill, sessionGoesOn: boolean): void {
    this.sessionEnded(will.clientId)
    this.delay({ will, due: performance.now() + will.delaySeconds * 1000 }, sessionGoesOn)
  }

  private delay({ will, due }: DelayedWill, sessionGoesOn: boolean): void {
    const ms = due - performance.now()
    if (ms <= 0 || !sessionGoesOn) return this.fire(will)
    const cancel = startTimer(ms, () => {
      this.delayed.delete(will.clientId)
      this.fire(will)
    })
    this.delayed.set(will.clientId, { will, due, cancel })
  }

  /**
   * The client is back in its Session before the delay was over: the Will is not sent [MQTT-3.1.3-9]. It is returned, for the
   * case that the client is not told.
   */
  resumed(clientId: string): DelayedWill | undefined {
    const delayed = this.take(clientId)
    if (delayed) this.disarm(delayed.will)
    return delayed
  }

  /** What resumed() returned is again as it was. In the store with the gathering commit. */
  restore(delayed: DelayedWill, sessionGoesOn: boolean): void {
    this.write(delayed.will)
    this.delay(delayed, sessionGoesOn)
  }

  /** The Session is gone: what was delayed is sent now. */
  sessionEnded(clientId: string): void {
    const delayed = this.take(clientId)
    if (delayed) this.fire(delayed.will)
  }

  private take(clientId: string): DelayedWill | undefined {
    const delayed = this.delayed.get(clientId)
    delayed?.cancel()
    this.delayed.delete(clientId)
    return delayed
  }

  /** In a turn of its own: a connection may end while a message is on its way to it. */
  private fire(will: ArmedWill): void {
    setImmediate(() => {
      if (this.publish(framesOf(will.packet, will.v5), will)) this.disarm(will)
      else this.fireLater(will)
    })
  }

  private fireLater(will: ArmedWill): void {
    const { clientId } = will
    this.waiting.set(clientId, (this.waiting.get(clientId) ?? 0) + 1)
    const roomAgain = (): void => {
      const others = (this.waiting.get(clientId) ?? 0) - 1
      if (others > 0) this.waiting.set(clientId, others)
      else this.waiting.delete(clientId)
      this.fire(will)
    }
    this.commits.whenRoom({ closed: false, roomAgain })
  }

  /** At start every stored Will belongs to a connection that ended with the broker. `known`: whether the Session goes on. */
  load(stored: { id: number; value: WillRow }[], place: Place, known: (clientId: string) => boolean): void {
    for (const { id, value } of stored) {
      const { clientId, user, delaySeconds, v5, packet } = value
      const will = { id, clientId, user, delaySeconds, v5, place, packet: Buffer.from(packet, "base64") }
      place.keeping.add("wills", costOf(will))
      this.lost(will, known(clientId))
    }
  }

  /** The broker stops: delayed Wills stay in the store, for the next start. */
  stop(): void {
    for (const { cancel } of this.delayed.values()) cancel()
    this.delayed.clear()
  }
}
