import type { Publication } from "../support/read.js"
import type { Incoming } from "./actor.js"
import type { Entry, Expected, ModelSession, Plain } from "./plain-model.js"

/** Whether everything that must come has come. */
export function complete(session: ModelSession): boolean {
  return session.expected.length === 0 && session.plain.every(({ optional }) => optional)
}

export function describeExpected(session: ModelSession): string {
  const lines = session.expected.map(
    ({ kind, entry, again }) => `${kind} ${entry.n} "${entry.topic}" QoS ${entry.sentQos}${again ? " again" : ""}`,
  )
  return [...lines, ...session.plain.map(({ n, topic }) => `publish ${n} "${topic}" QoS 0`)].join(", ") || "nothing"
}

export function describeIncoming(one: Incoming): string {
  if (one.kind === "pubrel") return `PUBREL id ${one.packetId}`
  const { message } = one
  return `PUBLISH ${message.payload.toString()} "${message.topic}" QoS ${message.qos} id ${message.packetId}${message.dup ? " DUP" : ""}${message.retain ? " RETAIN" : ""}`
}

/** A message at QoS 0 came. Throws when it is not what the session must get. */
export function plain(session: ModelSession, message: Publication, prefix: string): void {
  const text = message.payload.toString()
  const fits = (one: Plain): boolean =>
    (one.n === null ? text === "" : text === `${one.n}`) && `${prefix}${one.topic}` === message.topic && one.retain === message.retain
  const index = session.plain.findIndex(fits)
  const before = session.plain.slice(0, Math.max(0, index))
  // retained messages of one SUBSCRIBE come in any order, a Will during a takeover may be missed
  if (index < 0 || !before.every(({ optional, retain }) => optional || retain)) throw notExpected({ kind: "publish", message })
  session.plain.splice(index, 1)
}

/** PUBREL came. Throws when the session does not expect it. */
export function released(session: ModelSession, packetId: number): void {
  const next = session.expected.find(({ entry }) => entry.sentQos === 2)
  if (next?.kind !== "pubrel" || next.entry.packetId !== packetId) throw notExpected({ kind: "pubrel", packetId })
  met(session, next)
}

/** PUBREL came for what the client has completed: its PUBCOMP may have come too late for the store. */
export function releasedAgain(session: ModelSession, packetId: number): void {
  if (!session.releasedAgain(packetId)) throw notExpected({ kind: "pubrel", packetId })
}

/** A message at QoS 1 or 2 came. Throws when it is not what the session must get next. */
export function published(session: ModelSession, message: Publication, prefix: string): void {
  const next = expectedAs(session, message)
  if (next?.kind !== "publish") throw notExpected({ kind: "publish", message })
  const problem = differs(next, message, prefix)
  if (problem) throw new Error(`${problem}: ${describeIncoming({ kind: "publish", message })}`)
  met(session, next)
  session.passed(next.entry)
  if (session.queue.some((one) => one !== next.entry && isOpen(one) && one.packetId === message.packetId))
    throw new Error(`in flight already: ${describeIncoming({ kind: "publish", message })}`)
  next.entry.packetId = message.packetId
  next.entry.group = 0
  next.entry.survivor = false
}

/** A message at QoS 1 came whose PUBACK the store may not have got before a crash. */
export function publishedAgain(session: ModelSession, message: Publication, prefix: string): void {
  const { payload, retain } = message
  const entry = session.repeatable.find((one) => `${one.n}` === payload.toString() && one.retain === retain)
  if (!session.again(entry) || message.topic !== `${prefix}${entry?.topic}`) throw notExpected({ kind: "publish", message })
}

/** Sent, its identifier known, and not completed. */
function isOpen({ phase, packetId }: Entry): boolean {
  return packetId > 0 && (phase === "sent" || phase === "released")
}

function notExpected(one: Incoming): Error {
  return new Error(`not expected: ${describeIncoming(one)}`)
}

function met(session: ModelSession, one: Expected): void {
  session.expected.splice(session.expected.indexOf(one), 1)
}

/**
 * The expectation that message `n` meets. What waits for the store at QoS 2 may be passed by QoS 1: the order is promised
 * for one QoS. A retained message of a group in any order takes the place of another of its group.
 */
function expectedAs(session: ModelSession, message: Publication): Expected | undefined {
  const { qos, retain } = message
  const n = Number(message.payload.toString())
  const next = session.expected.find(({ entry }) => (entry.n === n && entry.retain === retain) || entry.sentQos === qos)
  if (next?.entry.n === n && next.entry.retain === retain) return next
  const other = session.queue.find((one) => retain && one.n === n && one.group > 0 && one.phase !== "done")
  const place = session.expected.find(({ entry }) => other && entry.group === other.group)
  if (!other || !place) return undefined
  const [mine, theirs] = [fields(place.entry), fields(other)]
  Object.assign(place.entry, theirs)
  Object.assign(other, mine)
  return place
}

function differs({ entry, again }: Expected, message: Publication, prefix: string): string | null {
  if (message.packetId === 0) return "an identifier expected"
  if (message.topic !== `${prefix}${entry.topic}`) return `topic "${entry.topic}" expected`
  if (message.retain !== entry.retain) return `RETAIN ${entry.retain} expected`
  if (message.qos !== entry.sentQos) return `QoS ${entry.sentQos} expected`
  if (again && !message.dup) return "DUP expected"
  if (again && message.packetId !== entry.packetId && !(entry.survivor && entry.sentQos === 1))
    return `identifier ${entry.packetId} expected`
  if (!again && message.dup && !entry.survivor) return "DUP 0 expected"
  return null
}

function fields({ n, topic, qos, sentQos }: Entry): Partial<Entry> {
  return { n, topic, qos, sentQos: sentQos || qos }
}
