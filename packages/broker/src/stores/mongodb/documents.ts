import type { Binary } from "mongodb"
import type { SubscriptionRow } from "../store.js"

/*
 * What is in the collections. Numbers are integers below 2^53. `epoch` of a lease and of the journal counts owners (lease.ts),
 * that of rows says which of them a late write may still change (claim.ts). Times of Sessions and messages are the broker's
 * (StoredTime).
 */

/** `broker`, "lease": who owns the database. Times are the server's. */
export interface LeaseDocument {
  _id: "lease"
  /** rises with each owner */
  epoch: number
  /** of one process of a broker, made up at its start */
  owner: string
  host: string
  pid: number
  /** where local tools reach it, a folder of that host */
  admin: string
  renewed: Date
  /** how long it holds from there on, in ms */
  length: number
  /** it was given up */
  released: boolean
  /** when it was released: whether nothing of its owner is on its way any more */
  clean: boolean
}

/** `broker`, "journal": which journal counts, and how much of it is in the other collections. */
export interface JournalStateDocument {
  _id: "journal"
  /** of this layout */
  format: number
  /** the owner whose documents in `journal` count */
  epoch: number
  /** the last sequence that is folded */
  folded: number
  /** the last epoch of rows that was given out */
  rows: number
  /** the epoch of rows: a document of sessions, holds, retained, wills or logs with a lower one came late, and does not count */
  rowsFrom: number
  /** counts writes that were made only to wait for the disk and the majority */
  barriers?: number
}

/** `broker`, "next": the first position and id that were never given out. */
export interface NextDocument {
  _id: "next"
  position: number
  id: number
  /** see StoredTime; absent: an older version wrote it */
  time?: { broker: number; wall: number }
}

/** `journal`: a commit, or a piece of one; or what closes the journal of an owner that was replaced. */
export interface JournalDocument {
  /** `EPOCH/SEQUENCE`: the next one is found by equality */
  _id: string
  epoch: number
  sequence: number
  /** of who wrote it (LeaseDocument.owner) */
  owner: string
  /** a record (see journal/record.ts), or a piece of it */
  bytes?: Binary
  /** it goes on in the document behind it */
  more?: boolean
  /** nothing comes behind: the owner of this epoch took over */
  sealedBy?: number
}

/** `sessions`: a persistent Session and how far it has come. */
export interface SessionDocument {
  _id: number
  clientId?: string
  user?: string | null
  /** null: it never expires */
  expirySeconds?: number | null
  /** null: it is connected */
  disconnectedAt?: Date | null
  cursor?: CursorDocument
  /** Packet Identifiers of QoS 2 messages from the client whose PUBREL has not come */
  incoming?: number[]
  epoch: number
}

/** See Cursor. */
export interface CursorDocument {
  position: number
  /** null: the Session is connected */
  sentBelow: number | null
  inflight: Binary | null
}

/** `holds`: what a Session holds of a log (SubscriptionRow). */
export interface HoldDocument extends SubscriptionRow {
  /** `SESSION/SLOT` */
  _id: string
  session: number
  slot: number
  epoch: number
}

/** A message as people and other programs can read it; the packet is made of it again, byte for byte. */
export interface MessageDocument {
  topic: string
  /** text where it is text */
  payload: string | Binary
  qos: 0 | 1 | 2
  retain: boolean
  dup: boolean
  /** of MQTT, as it was published: 4 stands for 3.1 too */
  version: 4 | 5
  /** of MQTT 5.0, as they stand in the packet; absent: none */
  properties?: Binary
  /** when it came */
  at: Date
}

/** `packets`: a message that waits in a log. */
export interface PacketDocument extends MessageDocument {
  /** `LOG/POSITION`, each of sixteen digits, so that their order is that of the log */
  _id: string
  log: number
  /** it was retained, and waits because of a SUBSCRIBE */
  kept?: true
  /** what went into the log before it */
  before: { messages: number; bytes: number; expiring: number }
}

/** `retained`: in the layout of aedes-persistence-mongodb, with more. */
export interface RetainedDocument extends MessageDocument {
  _id: number
  cmd: "publish"
  epoch: number
}

/** `wills` (WillRow); the packet is bytes. */
export interface WillDocument {
  _id: number
  clientId: string
  user?: string
  delaySeconds: number
  v5: boolean
  packet: Binary
  epoch: number
}

/** `logs`: what went into a log that has packets, up to the last of them. */
export interface LogDocument {
  _id: number
  last: number
  messages: number
  bytes: number
  expiring: number
  epoch: number
}
