import { type Binary, type Collection, type Db, MongoClient } from "mongodb"
import type {
  HoldDocument,
  JournalDocument,
  JournalStateDocument,
  LeaseDocument,
  LogDocument,
  NextDocument,
  PacketDocument,
  RetainedDocument,
  SessionDocument,
  WillDocument,
} from "./documents.js"
import { UnusableUrl } from "./errors.js"

/** How long the server may be looked for, and one question may take, in ms; then it failed. */
const ANSWER_MS = 5000
const SIZE_OF_POOL = 8
/** For what goes through a whole collection, once, and for each piece of a query that gives one. */
export const LONG = { timeoutMS: 300_000 } as const
export const WHOLE = { timeoutMS: 60_000, timeoutMode: "iteration" } as const

/** The collections of a store. */
export interface Collections {
  readonly lease: Collection<LeaseDocument>
  readonly state: Collection<JournalStateDocument>
  readonly next: Collection<NextDocument>
  readonly journal: Collection<JournalDocument>
  readonly sessions: Collection<SessionDocument>
  readonly holds: Collection<HoldDocument>
  readonly packets: Collection<PacketDocument>
  readonly retained: Collection<RetainedDocument>
  readonly wills: Collection<WillDocument>
  readonly logs: Collection<LogDocument>
}

/** Collections of rows: each has the epoch of the owner that wrote it. */
export const ROWS = ["sessions", "holds", "retained", "wills", "logs"] as const

/** A document as it is written. */
export interface Row {
  _id: string | number
  epoch: number
  incoming?: number[]
  topic?: string
  payload?: string | Binary
}

/** A connection to the server: what was written is on the disk there, and with the majority of a replica set. */
export async function connect(url: string): Promise<MongoClient> {
  const client = clientOf(url)
  try {
    await client.connect()
    return client
  } catch (error) {
    await client.close().catch(() => {})
    throw error
  }
}

function clientOf(url: string): MongoClient {
  const options = {
    serverSelectionTimeoutMS: ANSWER_MS,
    connectTimeoutMS: ANSWER_MS,
    timeoutMS: ANSWER_MS,
    maxPoolSize: SIZE_OF_POOL,
    w: "majority",
    journal: true,
    // whatever the URL says: what others may read from a copy that lags must not be believed here
    readPreference: "primary",
    readConcern: { level: "local" },
    appName: "mqtt-broker",
  } as const
  try {
    return new MongoClient(url, options)
  } catch (cause) {
    throw new UnusableUrl(cause)
  }
}

export function collectionsOf(db: Db): Collections {
  return {
    lease: db.collection("broker"),
    state: db.collection("broker"),
    next: db.collection("broker"),
    journal: db.collection("journal"),
    sessions: db.collection("sessions"),
    holds: db.collection("holds"),
    packets: db.collection("packets"),
    retained: db.collection("retained"),
    wills: db.collection("wills"),
    logs: db.collection("logs"),
  }
}
