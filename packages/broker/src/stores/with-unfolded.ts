import type { StoredLog, StoredSession, StoredState } from "./store.js"
import { amountOf } from "./chunks.js"
import type { Unfolded } from "./unfolded.js"

/** What the tables will have when the rest is folded, of what they have. */
export function withUnfolded(state: StoredState, unfolded: Unfolded): StoredState {
  return {
    sessions: sessionsWith(state.sessions, unfolded),
    retained: rowsWith(state.retained, unfolded.retained),
    wills: rowsWith(state.wills, unfolded.wills),
    logs: logsWith(state.logs, unfolded),
    next: unfolded.reserved ?? state.next,
    time: unfolded.time ?? state.time,
  }
}

function sessionsWith(stored: readonly StoredSession[], unfolded: Unfolded): StoredSession[] {
  const sessions = byId(stored)
  for (const [id, row] of unfolded.sessions)
    if (row) sessions.set(id, { cursor: BEGINNING, subscriptions: new Map(), incoming: [], ...sessions.get(id), id, row })
    else sessions.delete(id)
  for (const session of sessions.values()) {
    session.cursor = unfolded.cursors.get(session.id) ?? session.cursor
    for (const [slot, row] of unfolded.subscriptions.get(session.id) ?? [])
      if (row) session.subscriptions.set(slot, row)
      else session.subscriptions.delete(slot)
    const incoming = new Set(session.incoming)
    for (const [identifier, open] of unfolded.incoming.get(session.id) ?? [])
      if (open) incoming.add(identifier)
      else incoming.delete(identifier)
    session.incoming = [...incoming].toSorted((a, b) => a - b)
  }
  return inOrder(sessions)
}

const BEGINNING = { position: 0, sentBelow: 0, inflight: undefined }

function rowsWith<V>(
  stored: readonly { id: number; value: V }[],
  unfolded: ReadonlyMap<number, V | undefined>,
): { id: number; value: V }[] {
  const rows = byId(stored)
  for (const [id, value] of unfolded)
    if (value === undefined) rows.delete(id)
    else rows.set(id, { id, value })
  return inOrder(rows)
}

function logsWith(stored: readonly StoredLog[], unfolded: Unfolded): StoredLog[] {
  const logs = byId(stored)
  for (const [id, below] of unfolded.cuts) if ((logs.get(id)?.last ?? below) < below) logs.delete(id)
  for (const [id, chunks] of unfolded.logs) {
    const chunk = chunks.at(-1)
    if (chunk) logs.set(id, amountOf(id, chunk))
  }
  return inOrder(logs)
}

function byId<T extends { id: number }>(rows: readonly T[]): Map<number, T> {
  return new Map(rows.map((row) => [row.id, row]))
}

function inOrder<T extends { id: number }>(rows: ReadonlyMap<number, T>): T[] {
  return [...rows.values()].toSorted((a, b) => a.id - b.id)
}
