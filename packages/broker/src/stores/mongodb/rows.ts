import { Binary } from "mongodb"
import type { Cursor, SessionRow, StoredSession, SubscriptionRow, WillRow } from "../store.js"
import type { CursorDocument, HoldDocument, SessionDocument, WillDocument } from "./documents.js"
import { bytesOf } from "./message.js"

/** What a document says of a Session. */
export function sessionFields({ clientId, user, expirySeconds, disconnectedAt }: SessionRow): Partial<SessionDocument> {
  return { clientId, user: user ?? null, expirySeconds, disconnectedAt: disconnectedAt === null ? null : new Date(disconnectedAt) }
}

export function cursorDocument({ position, sentBelow, inflight }: Cursor): CursorDocument {
  return { position, sentBelow: sentBelow === Infinity ? null : sentBelow, inflight: inflight ? new Binary(inflight) : null }
}

export function sessionOf(
  { _id, user, expirySeconds, disconnectedAt, cursor, incoming }: SessionDocument,
  clientId: string,
): StoredSession {
  return {
    id: _id,
    row: {
      clientId,
      ...(typeof user === "string" && { user }),
      expirySeconds: expirySeconds ?? null,
      disconnectedAt: disconnectedAt?.getTime() ?? null,
    },
    cursor: {
      position: cursor?.position ?? 0,
      sentBelow: cursor ? (cursor.sentBelow ?? Infinity) : 0,
      inflight: cursor?.inflight ? bytesOf(cursor.inflight) : undefined,
    },
    subscriptions: new Map(),
    incoming: incoming ?? [],
  }
}

/** What a document says of a Will. */
export function willFields({ clientId, user, delaySeconds, v5, packet }: WillRow): Omit<WillDocument, "_id" | "epoch"> {
  const bytes = new Binary(Buffer.from(packet, "base64"))
  return { clientId, ...(user !== undefined && { user }), delaySeconds, v5, packet: bytes }
}

export function willOf({ clientId, user, delaySeconds, v5, packet }: WillDocument): WillRow {
  return { clientId, ...(user !== undefined && { user }), delaySeconds, v5, packet: bytesOf(packet).toString("base64") }
}

export function rowOf(row: Omit<HoldDocument, "session" | "slot">): SubscriptionRow {
  const { filter, qos, noLocal, retainAsPublished, identifier, log, since, until } = row
  return { filter, qos, noLocal, retainAsPublished, identifier, log, since, until }
}
