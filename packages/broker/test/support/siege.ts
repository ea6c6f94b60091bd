import { connect as connectTcp, type Socket } from "node:net"
import { setImmediate as turn } from "node:timers/promises"
import { Assailant } from "./assailant.js"
import { connect, type ConnectFields } from "./wire.js"

/** Where a broker listens: ports of 127.0.0.1. */
export interface Doors {
  readonly tcp: number
  /** 0: not at all */
  readonly tls: number
  readonly webSocket: number
}

/** What became of those who attacked. */
export interface Tally {
  readonly opened: number
  /** connections that the broker closed, refused, or did not accept */
  readonly stopped: number
  /** of these by the Reason Code of DISCONNECT or CONNACK, or 0: without a word */
  readonly reasons: Record<number, number>
  /** connections with bytes that wait and of which the broker took none since the last mark */
  readonly paused: number
  /** bytes that the broker's side took */
  readonly bytes: number
}

/** Something that a client can do to a broker; cut off when its time is over. */
export type Assault = (siege: Siege) => Promise<void>

/** What one attack is, and what it makes grow in the broker. */
export interface Attack {
  readonly grows: string
  /** what it needs, before anybody measures; it leaves when that is done */
  readonly prepare?: Assault
  /** who it takes: they come before anybody measures, and stay */
  readonly gather?: Assault
  readonly run: Assault
}

/** Most sockets that are being opened at a time. */
const OPENING = 256

/** A broker, and all that attack it from 127.0.0.1, each from a port that the system finds: one that was asked for could be one that rests. */
export class Siege {
  over = false
  /** all that came so far */
  readonly assailants: Assailant[] = []
  private readonly marks = new Map<Assailant, number>()

  constructor(readonly doors: Doors) {}

  /** A connection without MQTT. */
  open(): Assailant {
    return this.add(new Assailant(this.dial(this.doors.tcp), this))
  }

  /** A connection to another door than MQTT over TCP. */
  openOther(port: number): Assailant {
    return this.add(new Assailant(this.dial(port), this, false))
  }

  /** A client, when it was let in or not. */
  async join(fields: ConnectFields, version: 4 | 5 = 4): Promise<Assailant> {
    const one = this.open()
    void one.write(connect(version, fields))
    await one.welcomed()
    return one
  }

  /** Does something so many times, some at a time, as long as there is time. */
  async each(count: number, task: (n: number) => Promise<unknown>, atOnce = OPENING): Promise<void> {
    let next = 0
    const worker = async (): Promise<void> => {
      // those that are there have their turn between those that come
      for (; next < count && !this.over; await turn()) await task(next++)
    }
    await Promise.all(Array.from({ length: Math.min(atOnce, count) }, worker))
  }

  /** As many clients as are let in. */
  async crowd(count: number, fields: (n: number) => ConnectFields, version: 4 | 5 = 4): Promise<Assailant[]> {
    const joined: Assailant[] = []
    await this.each(count, async (n) => {
      const one = await this.join(fields(n), version)
      if (!one.closed) joined.push(one)
    })
    return joined
  }

  /** From now on it is looked who is not read any more. */
  mark(): void {
    for (const one of this.assailants) this.marks.set(one, one.taken)
  }

  tally(): Tally {
    const reasons: Record<number, number> = {}
    let [stopped, paused, bytes] = [0, 0, 0]
    for (const one of this.assailants) {
      bytes += one.taken
      if (one.reason || (one.closed && !one.left)) {
        stopped++
        reasons[one.reason] = (reasons[one.reason] ?? 0) + 1
      } else if (one.waiting > 0 && this.marks.get(one) === one.taken) paused++
    }
    return { opened: this.assailants.length, stopped, reasons, paused, bytes }
  }

  private dial(port: number): Socket {
    return connectTcp({ port, host: "127.0.0.1", noDelay: true })
  }

  private add(one: Assailant): Assailant {
    this.assailants.push(one)
    return one
  }
}
