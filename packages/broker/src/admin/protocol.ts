import type { Dropped } from "../delivery/sessions/drops.js"

/** What a tool asks: one JSON object, one line. */
export interface QueueRequest {
  command: "queue"
  clientId: string
  /** most records */
  peek: number
}

/** Make a copy of the store. */
export interface BackupRequest {
  command: "backup"
  /** where, an absolute path of a new or empty folder */
  folder: string
}

export type AdminRequest = QueueRequest | BackupRequest

/** A record that waits for a Session, as `mqtt-broker queue` shows it. */
export interface QueueRecord {
  position: number
  topic: string
  qos: number
  /** when the broker accepted it, ISO 8601 */
  accepted: string
  /** sent, not acknowledged yet */
  inFlight: boolean
  /** seconds until it expires, null: never */
  expiresInSeconds: number | null
  payload: string
  payloadEncoding: "utf8" | "base64"
  payloadBytes: number
}

/** Answers, one JSON object a line. `end` or `error` is the last. */
export type AdminReply =
  | {
      type: "session"
      clientId: string
      connected: boolean
      disconnectedAt: string | null
      /** how many will be sent; not `exact`: at least so many */
      messages: number
      exact: boolean
      /** what its queue takes */
      bytes: number
      dropped: Dropped
    }
  | { type: "record"; record: QueueRecord }
  /** the copy is there, and on the disk */
  | { type: "backup" }
  | { type: "error"; code: "no-session" | "bad-request" | "store-unusable"; message: string }
  | { type: "end" }
