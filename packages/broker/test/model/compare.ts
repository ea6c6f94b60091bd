import type { Publication } from "../support/read.js"
import { pubcomp, pubrec } from "../support/messages.js"
import type { Actor, Incoming } from "./actor.js"
import type { Entry, Expected, ModelSession, Plain } from "./plain-model.js"

/** Looks at what came and takes it off what the model expects. Throws at the first difference. */
export function compare(actor: Actor, session: ModelSession, prefix: string): void {
  for (const one of actor.inbox.splice(0)) {
    if (one.kind === "pubrel") released(actor, session, one.packetId)
    else if (one.message.qos === 0) plain(session, one.message, prefix)
    else published(actor, session, one.message, prefix)
  }
}

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

function plain(session: ModelSession, message: Publication, prefix: string): void {
  const text = message.payload.toString()
  const fits = (one: Plain): boolean =>
    (one.n === null ? text === "" : text === `${one.n}`) && `${prefix}${one.topic}` === message.topic && one.retain === message.retain
  const index = session.plain.findIndex(fits)
  const before = session.plain.slice(0, Math.max(0, index))
  // retained messages of one SUBSCRIBE come in any order, a Will during a takeover may be missed
  if (index < 0 || !before.every(({ optional, retain }) => optional || retain))
    throw new Error(`not expected: ${describeIncoming({ kind: "publish", message })}`)
  session.plain.splice(index, 1)
}

function released(actor: Actor, session: ModelSession, packetId: number): void {
  const next = session.expected.find(({ entry }) => entry.sentQos === 2)
  if (next?.kind === "pubrel" && next.entry.packetId === packetId) return met(session, next)
  if (!session.releasable.delete(packetId)) throw new Error(`not expected: PUBREL id ${packetId}`)
  actor.send(pubcomp(packetId)) // its PUBCOMP came too late for the store
}

function published(actor: Actor, session: ModelSession, message: Publication, prefix: string): void {
  const next = expectedAs(session, message)
  if (next?.kind !== "publish") {
    if (repeats(actor, session, message)) return
    throw new Error(`not expected: ${describeIncoming({ kind: "publish", message })}`)
  }
  const problem = differs(next, message, prefix)
  if (problem) throw new Error(`${problem}: ${describeIncoming({ kind: "publish", message })}`)
  met(session, next)
  next.entry.packetId = message.packetId
  next.entry.group = 0
}

/** A QoS 1 message whose PUBACK the store did not get before a crash. A grant that was raised since may make it QoS 2. */
function repeats(actor: Actor, session: ModelSession, message: Publication): boolean {
  const { qos, dup, packetId } = message
  if ((qos === 1 && !dup) || !session.repeatable.delete(`${message.payload.toString()} ${message.retain}`)) return false
  if (qos === 1) actor.puback(packetId)
  else {
    actor.send(pubrec(packetId))
    session.releasable.add(packetId)
  }
  return true
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
  const next = session.expected.find(({ entry }) =>
    entry.n === n && entry.retain === retain ? entry.survivor || entry.sentQos === qos : blocks(session, entry, qos),
  )
  if (next?.entry.n === n && next.entry.retain === retain) return next
  const other = session.queue.find((one) => retain && one.n === n && one.group > 0 && one.phase !== "done")
  const place = session.expected.find(({ entry }) => other && entry.group === other.group)
  if (!other || !place) return undefined
  const [mine, theirs] = [fields(place.entry), fields(other)]
  Object.assign(place.entry, theirs)
  Object.assign(other, mine)
  return place
}

/** Whether an entry must come before others at this QoS; after a crash a grant that was raised may make it QoS 2. */
function blocks(session: ModelSession, entry: Entry, qos: number): boolean {
  return entry.sentQos === qos && !(entry.survivor && entry.sentQos === 1 && session.effective(entry) === 2)
}

function differs({ entry, again }: Expected, message: Publication, prefix: string): string | null {
  if (message.topic !== `${prefix}${entry.topic}`) return `topic "${entry.topic}" expected`
  if (message.retain !== entry.retain) return `RETAIN ${entry.retain} expected`
  if (again && entry.survivor && entry.sentQos === 1) {
    entry.sentQos = message.qos === 2 ? 2 : 1 // no identifier was stored: after a crash it may go as the grant says now
    return message.qos === 2 || message.dup ? null : "DUP expected"
  }
  if (message.qos !== entry.sentQos) return `QoS ${entry.sentQos} expected`
  if (again && !message.dup) return "DUP expected"
  if (again && message.packetId !== entry.packetId) return `identifier ${entry.packetId} expected`
  if (!again && message.dup && !entry.survivor) return "DUP 0 expected"
  return null
}

function fields({ n, topic, qos, sentQos }: Entry): Partial<Entry> {
  return { n, topic, qos, sentQos: sentQos || qos }
}
