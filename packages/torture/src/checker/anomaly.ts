/**
 * What a broker must not do, and what it means:
 * - `missing`: acknowledged to the publisher, never delivered to a session whose Subscription matches
 * - `deliveredTwice`: a second delivery at QoS 2 [MQTT-4.3.3-1]
 * - `outOfOrder`: a first copy after a later message of the same publishing connection, topic and QoS [MQTT-4.6.0-6]
 * - `repeatedOutOfOrder`: a repeat after that of a later message of the same stream, on one connection [MQTT-4.6.0-1]
 * - `altered`: topic, QoS or payload are not what was published and granted
 * - `stray`: never published, or no Subscription of the session matches
 * - `sessionLost`: Session Present 0 where a session was stored [MQTT-3.1.2-4]
 * - `identifierReused`: a Packet Identifier came with another message while it was in flight [MQTT-2.3.1-4]
 * - `dupMissing`: a redelivery without DUP [MQTT-3.3.1-1]
 * - `dupUnfounded`: DUP on a first transmission [MQTT-3.3.1-2], be it that of the publisher [MQTT-3.3.1-3]
 * - `leftOver`: delivered again although every acknowledgement had been processed
 * - `outlived`: a broker that another one had replaced acknowledged something, or did not end as it should
 * - `stalled`: the broker stopped answering or delivering, or did not start again
 */
export const ANOMALY_KINDS = [
  "missing",
  "deliveredTwice",
  "outOfOrder",
  "repeatedOutOfOrder",
  "altered",
  "stray",
  "sessionLost",
  "identifierReused",
  "dupMissing",
  "dupUnfounded",
  "leftOver",
  "outlived",
  "stalled",
] as const

export type AnomalyKind = (typeof ANOMALY_KINDS)[number]

/** What a table calls them. */
export const ANOMALY_TITLES: Record<AnomalyKind, string> = {
  missing: "acknowledged and missing",
  deliveredTwice: "QoS 2 delivered twice",
  outOfOrder: "first copies out of order",
  repeatedOutOfOrder: "repeats out of order",
  altered: "wrong topic, QoS or payload",
  stray: "delivered to the wrong session",
  sessionLost: "sessions lost",
  identifierReused: "Packet Identifiers reused in flight",
  dupMissing: "DUP missing on a redelivery",
  dupUnfounded: "DUP on a first transmission",
  leftOver: "delivered again after its acknowledgement",
  outlived: "a replaced broker went on",
  stalled: "stalled",
}

/** How often a kind was seen, and the history of the first one, a line per fact. */
export interface Anomaly {
  kind: AnomalyKind
  count: number
  history: string[]
}

/** Counts anomalies and keeps the history of the first of each kind only, so that memory stays bounded. */
export class AnomalyLog {
  private readonly seen = new Map<AnomalyKind, Anomaly>()

  /** `history` is asked for only when the kind is new. */
  report(kind: AnomalyKind, history: () => string[], count = 1): void {
    const known = this.seen.get(kind)
    if (known) known.count += count
    else this.seen.set(kind, { kind, count, history: history() })
  }

  /** The kinds that were seen, in the order of `ANOMALY_KINDS`. */
  list(): Anomaly[] {
    return ANOMALY_KINDS.flatMap((kind) => this.seen.get(kind) ?? [])
  }
}
