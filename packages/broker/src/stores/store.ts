import type { Amount } from "../wire/frames.js"

/**
 * A Session as the store keeps it; its id is the key. Times are ms of the broker's time (StoredTime). Rows are kept as JSON,
 * which has null and no undefined.
 */
export interface SessionRow {
  clientId: string
  /** to whom it belongs; absent: nobody, its clients were anonymous */
  user?: string | undefined
  /** Session Expiry Interval in seconds (MQTT 5.0 section 3.1.2.11.2); null: never expires */
  expirySeconds: number | null
  /** when its last Network Connection ended; null while it is connected */
  disconnectedAt: number | null
}

/** A Subscription of a Session; the Session's id and a slot of the Session's own are the key. */
export interface SubscriptionRow {
  filter: string
  qos: 0 | 1 | 2
  noLocal: boolean
  retainAsPublished: boolean
  /** Subscription Identifier, 0: none */
  identifier: number
  /** the log that holds its messages, 0: none, because nothing is queued at QoS 0 */
  log: number
  /** position since which it holds */
  since: number
  /** null: the Subscription holds. Else it ended or changed, and its log is held for what is below this position */
  until: number | null
}

/** The Will of a network connection (MQTT 5.0 section 3.1.2.5). */
export interface WillRow {
  clientId: string
  /** whose client it is; absent: it was anonymous */
  user?: string | undefined
  /** Will Delay Interval in seconds */
  delaySeconds: number
  /** the client's version is 5.0 */
  v5: boolean
  /** the PUBLISH packet that it becomes, in base64 */
  packet: string
}

/** How far a Session has come. */
export interface Cursor {
  /** below it no message is needed any more */
  position: number
  /** below this position anything may have been sent before: redelivered with DUP 1. Infinity while the Session is connected */
  sentBelow: number
  /** the window with its Packet Identifiers (Window.pack), while something in it is at QoS 2 */
  inflight: Buffer | undefined
}

export interface StoredSession {
  id: number
  row: SessionRow
  cursor: Cursor
  subscriptions: Map<number, SubscriptionRow>
  /** Packet Identifiers of QoS 2 messages from the client whose PUBREL has not come */
  incoming: number[]
}

/** Everything but the messages, as load() gives it back. */
export interface StoredState {
  sessions: StoredSession[]
  retained: { id: number; value: Buffer }[]
  wills: { id: number; value: WillRow }[]
  /** every log that has messages */
  logs: StoredLog[]
  /** the first position, and the first id, that were never given out */
  next: Reserved
  /** what time it was last; undefined: an older version wrote it, with times of the wall clock */
  time?: StoredTime | undefined
}

/** What went into a log since it began, up to the last message that is stored; its Session need not need all of it any more. */
export interface StoredLog {
  id: number
  /** position of the last message */
  last: number
  messages: number
  bytes: number
  /** how many of them may expire, at most */
  expiring: number
}

export interface Reserved {
  position: number
  id: number
}

/** One moment, in ms: by the broker's time, which all stamps are of (delivery/broker-time.ts), and by the wall clock. */
export interface StoredTime {
  broker: number
  wall: number
}

/** One atomic write. Arrays may be empty. The buffers must not change any more. */
export interface Commit {
  /**
   * chunks: sealed blocks (Frames.seal), with the positions of their first and last message, ascending within a log, and what
   * went into the log before. What several logs share is one buffer, with the same positions in each
   */
  appends: { log: number; first: number; last: number; before: Amount; value: Buffer }[]
  /** what a log has below a position is needed by nobody; it goes as far as it is whole chunks. After the appends of this commit */
  cuts: { log: number; below: number }[]
  sessions: { id: number; row: SessionRow | undefined }[]
  subscriptions: { session: number; slot: number; row: SubscriptionRow | undefined }[]
  cursors: { session: number; cursor: Cursor }[]
  incoming: { session: number; identifier: number; open: boolean }[]
  /** retained messages (sealed blocks of one) and Wills by an id of their own; undefined: removed */
  retained: { id: number; value: Buffer | undefined }[]
  wills: { id: number; value: WillRow | undefined }[]
  /** positions and ids below are taken; undefined: unchanged */
  reserved: Reserved | undefined
  /** what time it is; undefined: what was said before will do */
  time?: StoredTime | undefined
}

/** A sealed block. Which messages it has need not be what one append had: a store may put several together. */
export interface StoredChunk {
  first: number
  before: Amount
  value: Buffer
  /** the bytes are in memory once for all logs that have them */
  isShared?: boolean
}

/** A value, or a promise of it where somebody has to be waited for. */
export type Maybe<T> = T | Promise<T>

/** A commit that says nothing. */
export const NOTHING: Commit = {
  appends: [],
  cuts: [],
  sessions: [],
  subscriptions: [],
  cursors: [],
  incoming: [],
  retained: [],
  wills: [],
  reserved: undefined,
}

/** What is made of a value: now, or when it comes. */
export function whenThere<T, R>(value: Maybe<T>, make: (value: T) => Maybe<R>): Maybe<R> {
  return value instanceof Promise ? value.then(make) : make(value)
}

/**
 * Messages of a log that were stored cannot be read any more: what lies there is not what was written. They are passed over.
 * `last`: the position of the last of them; `total`: how often that was so, since the store was opened. Told once of each.
 */
export type LostRows = (lost: { log: number; last: number; total: number }) => void

/**
 * Where persistent Sessions and their queues live. One broker process owns a store. All numbers are integers below 2^53.
 */
export interface Store {
  /** the URL in its full form, as shown to people */
  readonly url: string
  /** Why it could take no commit now, in words; undefined: nothing is known that keeps it from that. */
  readonly trouble: string | undefined
  /**
   * Whether it has room for so many bytes of messages: what brings them waits until it does. Commits that make room are taken
   * all the same, and so is what is needed for them. Undefined: it always has.
   */
  hasRoom?(bytes: number): boolean
  /** Whether another process may have it by now: whoever answers for it asks for a commit first. Undefined: none can. */
  readonly isDoubtful?: boolean
  /** Called once, before anything else. Refuses data of a newer format. */
  load(): Promise<StoredState>
  /**
   * Commits take effect in the order of the calls; the promise resolves when this one and all before it are durable.
   * A rejected commit may be called again, and must be before another one; cutting what is not there is no error.
   */
  commit(commit: Commit): Promise<void>
  /**
   * The chunks from the one with the first message at or above `position` on, ascending: at most `most.chunks`, and no more
   * than the first with which they pass `most.bytes`. Each message is in one of them; the first ones may begin below
   * `position`, or have messages that the one before has too. At once when they are in memory. While the store is broken the
   * promise waits; it never rejects.
   */
  read(log: number, position: number, most: { chunks: number; bytes: number }): Maybe<StoredChunk[]>
  /**
   * Makes a copy of it in a folder, while it goes on: what was durable at the call is in it, and opens as a store. Rejects
   * when the folder has anything in it, or cannot be written; then it is as before. Undefined: it has no such copies.
   */
  backup?(folder: string): Promise<void>
  /** Ends after what commit() has taken is durable. */
  close(): Promise<void>
}
