import type { Commit, SessionRow, StoredState } from "../../src/stores/store.js"
import { framesOf } from "../../src/wire/publish.js"
import { chunk, NOTHING } from "../support/chunks.js"
import { publish } from "../support/wire.js"

/** Every fourth commit has only a retained message and a Will; the others are numbered among themselves. */
const isSmall = (n: number): boolean => n % 4 === 0
export const among = (n: number): number => n - Math.floor(n / 4)

/** What the commit with a number says: all that a store keeps, as a function of the number. */
export function commitOf(n: number): Commit {
  const row = (id: number): SessionRow => ({ clientId: `c${id}`, expirySeconds: n, disconnectedAt: null })
  const retained = framesOf(publish(4, { topic: "kept", qos: 1, packetId: 0, payload: `${n}`, retain: true }), false)
  const k = among(n)
  const other = 10 + Math.floor(k / 3)
  return {
    ...NOTHING,
    ...(!isSmall(n) && {
      appends: [chunk(5, k, `${k}`)],
      cuts: [{ log: 5, below: cutOf(k) }],
      sessions: [{ id: 1, row: row(1) }, ...(k % 3 === 2 ? [{ id: other, row: undefined }] : [{ id: other, row: row(other) }])],
      subscriptions: [
        { session: 1, slot: k, row: undefined },
        { session: 1, slot: k + 1, row: { ...HOLD, since: k } },
      ],
      cursors: [{ session: 1, cursor: { position: k, sentBelow: k, inflight: k % 2 ? Buffer.from([k]) : undefined } }],
      incoming: [
        { session: 1, identifier: k, open: true },
        { session: 1, identifier: k - 1, open: false },
      ],
    }),
    retained: [{ id: 2, value: retained.seal() }],
    wills: [
      { id: 3 + (n % 2), value: { clientId: `${n}`, delaySeconds: 0, v5: false, packet: WILL } },
      { id: 3 + ((n + 1) % 2), value: undefined },
    ],
    reserved: { position: n + 1, id: 1000 },
  }
}

const WILL = publish(4, { topic: "w", qos: 1, packetId: 0, payload: "" }).toString("base64")
const HOLD = { filter: "t", qos: 1, noLocal: false, retainAsPublished: true, identifier: 0, log: 5, since: 0, until: null } as const
export const cutOf = (k: number): number => Math.max(0, k - 4)

/** What a store says that has the first `n` commits. */
export function expectedOf(n: number): object {
  if (!n) return { sessions: [], cursor: undefined, inflight: undefined, incoming: [], holds: [], retained: [], wills: [], next: 1 }
  const k = among(n)
  const other = 10 + Math.floor(k / 3)
  const ids = [1, ...Array.from({ length: other - 9 }, (_, m) => 10 + m).filter((id) => id === other && k % 3 !== 2)]
  return {
    sessions: ids,
    cursor: k,
    inflight: k % 2 ? k : undefined,
    incoming: [k],
    holds: [k + 1],
    retained: [`${n}`],
    wills: [`${n}`],
    next: n + 1,
  }
}

export function seenOf({ sessions, retained, wills, next }: StoredState): object {
  const first = sessions.find(({ id }) => id === 1)
  return {
    sessions: sessions.map(({ id }) => id),
    cursor: first?.cursor.position,
    inflight: first?.cursor.inflight?.[0],
    incoming: first?.incoming ?? [],
    holds: [...(first?.subscriptions.keys() ?? [])],
    retained: retained.map(({ value }) => value.toString("latin1").match(/kept\0\0(\d+)/)?.[1]),
    wills: wills.map(({ value }) => value.clientId),
    next: next.position,
  }
}
