import type { ReasonCode } from "../wire/reason-codes.js"

/** Why reading from a connection stands still. Bits: reading goes on when none is left. */
export const Pause = {
  /** a control packet waits for its answer */
  CONTROL: 1,
  /** the store's backlog is full */
  STORE: 2,
  /** a receiver is slower than this publisher */
  RECEIVER: 4,
  /** the client does not read what it is sent */
  UNSENT: 8,
  /** the broker stops; never released */
  STOPPED: 16,
  /** the client is above its rate */
  RATE: 32,
  /** memory is tight, and what the client publishes makes it grow */
  MEMORY: 64,
  /** much was read in this turn of the event loop: others have theirs */
  TURN: 128,
} as const

/** What a Session needs of the network connection it is attached to; the connection implements it. */
export interface Outlet {
  readonly v5: boolean
  /** the client's Maximum Packet Size in bytes, Infinity without one (MQTT 5.0 section 3.1.2.11.4) */
  readonly maximumPacketSize: number
  /** bytes that were taken but not handed to the operating system yet */
  readonly unsent: number
  /** where the last claim() lies in */
  readonly buffer: Buffer
  /** Makes room for `size` bytes in `buffer` and returns the offset where the caller writes them at once. */
  claim(size: number): number
  /** Sends bytes, which must not change any more. `sharers`: how many are sent the same Buffer, about. */
  push(bytes: Buffer, sharers?: number): void
  /** Sends bytes behind everything that was accepted before is durable, the gathering commit included. */
  pushDurable(bytes: Buffer): void
  pauseReading(reason: number): void
  resumeReading(reason: number): void
  /** Ends the connection; MQTT 5.0 clients get a DISCONNECT with the reason first. */
  refuse(reason: ReasonCode, message: string): void
}
