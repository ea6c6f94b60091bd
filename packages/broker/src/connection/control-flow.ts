import { randomUUID } from "node:crypto"
import { setTimeout as after } from "node:timers/promises"
import type { IConnectPacket } from "mqtt-packet"
import type { Place } from "../accounting/tally.js"
import type { Credentials, Login, Verdict } from "../access/access.js"
import type { RetainedStream, Wanted } from "../delivery/retained/retained-stream.js"
import { costOfHold, costOfSession, costOfSubscription } from "../delivery/sessions/costs.js"
import type { Session } from "../delivery/sessions/session.js"
import type { Count } from "../delivery/sessions/waiting.js"
import type { SessionRequest } from "../delivery/sessions/sessions.js"
import { type ArmedWill, costOf, type DelayedWill } from "../delivery/wills/wills.js"
import type { ControlChannel, Gate, InnerGate } from "../engine/aedes.js"
import type { Maybe } from "../stores/store.js"
import { PacketError, Reason, type ReasonCode } from "../wire/reason-codes.js"
import type { ProtocolVersion, QoS } from "../wire/packet-types.js"
import { framesOf, topicOf } from "../wire/publish.js"
import { readWill } from "../wire/will.js"
import { sessionExpiry } from "../wire/session-expiry.js"
import type { SubscribePacket, UnsubscribePacket } from "../wire/checks.js"
import { connackCode, readConnect, write } from "./control-packets.js"
import type { ConnectionFacts, Context } from "./context.js"
import { RECEIVE_MAXIMUM, type ReplyLine } from "./reply-line.js"

/** So long CONNACK waits for the number of messages that wait, in ms. */
const SOON_MS = 2000

/** What control packets need of their connection. */
export interface ControlledConnection {
  readonly version: ProtocolVersion
  readonly v5: boolean
  readonly closed: boolean
  /** undefined until open() */
  readonly session: Session | undefined
  readonly retained: RetainedStream | undefined
  /** the client's Maximum Packet Size in bytes, Infinity without one (MQTT 5.0 section 3.1.2.11.4) */
  readonly maximumPacketSize: number
  /** where the client is */
  readonly place: Place
  readonly replies: ReplyLine
  /** what the listener knows of the other side */
  readonly peer: Pick<Credentials, "address" | "certificateUser">
  push(bytes: Buffer): void
  /** CONNECT was accepted, with this Session. */
  open(session: Session, options: OpenOptions): void
  /** CONNACK leaves. `receiveMaximum`: most messages in flight. */
  welcome(connack: Buffer, receiveMaximum: number): void
  /** CONNECT was refused, with this CONNACK. */
  refuseConnect(connack: Buffer, reason: ReasonCode, message: string): void
  refuse(reason: ReasonCode, message: string): void
}

/** What an accepted CONNECT asked for, and did. */
export interface OpenOptions {
  login: Login
  maximumPacketSize: number
  keepAliveSeconds: number
  /** its Will, armed */
  will: ArmedWill | undefined
  /** the Will that is not sent because the client is back */
  earlierWill: DelayedWill | undefined
}

/**
 * The control packets of one connection, one at a time: each goes through aedes, and what it answers is carried out
 * on Sessions and router before the answer leaves. All bytes passed the strict checks.
 */
export class ControlFlow implements InnerGate {
  /** where the CONNECT waits for its answer */
  private opening: ControlChannel | undefined = undefined
  claims: ConnectionFacts["claims"] = undefined

  constructor(
    private readonly connection: ControlledConnection,
    private readonly context: Pick<Context, "access" | "clients" | "delivery" | "engine" | "limits" | "log" | "runs">,
  ) {}

  /** CONNECT: aedes accepts or refuses, the Session is opened, CONNACK leaves when it is stored (section 3.1). */
  async connect(bytes: Buffer): Promise<void> {
    const { connection, context } = this
    const packet = readConnect(bytes)
    const assigned = packet.clientId ? undefined : `auto-${randomUUID()}`
    const clientId = assigned ?? packet.clientId
    const { version } = connection
    this.claims = { clientId, user: packet.username }
    if (packet.properties?.authenticationMethod !== undefined)
      throw new PacketError(Reason.BAD_AUTHENTICATION_METHOD, "extended authentication is not supported")
    const login = await this.login(packet, clientId)
    if (!login) return
    this.claims = { clientId, user: login.user }
    const { place } = connection
    const request = { ...sessionRequest(packet, clientId, version), user: login.user, place }
    const will = readWill(bytes, connection.v5)
    if (will && !context.delivery.mayPublish(login, topicOf(framesOf(will.packet, connection.v5), 0)))
      throw new PacketError(Reason.NOT_AUTHORIZED, "it may not publish to the topic of its Will")
    const stores = request.expirySeconds !== 0 || will !== undefined || context.delivery.sessions.get(clientId)?.persistent
    if (stores && context.delivery.commits.isStalled)
      throw new PacketError(Reason.SERVER_UNAVAILABLE, "the store does not take commits now")
    if (stores && context.delivery.commits.isCrowded) this.checkRoom(clientId, will !== undefined)
    this.checkOwner(clientId, login) // before it counts as a takeover
    const wait = context.clients.admit(clientId)
    if (wait) await after(wait)
    if (connection.closed) return
    const { sessions } = context.delivery
    const old = this.checkOwner(clientId, login)
    if (sessions.count >= context.limits.sessions && !old)
      throw new PacketError(Reason.QUOTA_EXCEEDED, `there are ${context.limits.sessions} sessions, which is the limit`)
    const kept = (request.expirySeconds !== 0 && !old ? costOfSession(clientId) : 0) + (will ? costOf({ clientId, ...will }) : 0)
    if (kept && !place.mayKeep(kept))
      throw new PacketError(Reason.QUOTA_EXCEEDED, `what is kept for clients from ${place.name} takes all the memory that it may`)
    context.clients.takeOver(clientId)
    const { session, present, stored } = sessions.open(request)
    const earlierWill = present ? context.delivery.wills.resumed(clientId) : undefined
    connection.open(session, {
      login,
      maximumPacketSize: packet.properties?.maximumPacketSize ?? Infinity,
      keepAliveSeconds: packet.keepalive ?? 0,
      will: will ? context.delivery.wills.arm({ clientId, user: login.user, v5: connection.v5, place, ...will }) : undefined,
      earlierWill,
    })
    // what of it may be read is known when its turn comes
    const waiting =
      version === 5 && present && !session.permissions ? await soon(session.countWaiting(connection.maximumPacketSize)) : undefined
    if (connection.closed) return
    const receiveMaximum = version === 5 ? (packet.properties?.receiveMaximum ?? 65_535) : context.limits.inflight
    await new Promise<void>((resolve) => {
      connection.replies.afterwards(
        () => {
          connection.welcome(this.connack({ version, present, assigned, waiting }), receiveMaximum)
          resolve()
        },
        stored || will !== undefined,
      )
    })
  }

  /** Who has a Session comes in, to empty its queue. Throws a PacketError when there would be more to keep. */
  private checkRoom(clientId: string, hasWill: boolean): void {
    const { sessions, wills } = this.context.delivery
    if (sessions.get(clientId)?.persistent === true && !(hasWill && wills.waits(clientId))) return
    throw new PacketError(Reason.QUOTA_EXCEEDED, "the store has no room for another session or Will")
  }

  /** Asks aedes, and through it the gate, whether the CONNECT is accepted. undefined: the connection ends. */
  private async login(packet: IConnectPacket, clientId: string): Promise<Login | undefined> {
    const { connection, context } = this
    const { version } = connection
    const { username, password } = packet
    const found: { verdict: Verdict } = { verdict: { refused: "not authorized" } }
    const gate: Gate = {
      admit: async () => {
        found.verdict = await context.access.authenticate({
          clientId,
          username,
          password,
          ...connection.peer,
          gone: () => connection.closed,
        })
        return "login" in found.verdict ? 0 : REFUSALS[found.verdict.refused].returnCode
      },
      maySubscribe: () => false,
    }
    const channel = (this.opening = context.engine.open(gate))
    const reply = await this.answered(context.engine.connect(channel, version))
    this.opening = undefined
    if (!reply) return undefined
    const { verdict } = found
    if ("login" in verdict && connackCode(reply, version) === 0) {
      context.engine.release(channel, version)
      return verdict.login
    }
    channel.destroy()
    const { reason } = REFUSALS["refused" in verdict ? verdict.refused : "not authorized"]
    const user = username === undefined ? "it has no user name" : `user ${JSON.stringify(username.slice(0, 100))}`
    connection.refuseConnect(reply, reason, user)
    return undefined
  }

  /** The Session with the Client Identifier, if there is one. Throws a PacketError when it is another user's, or the login does not hold any more. */
  private checkOwner(clientId: string, login: Login): Session | undefined {
    const { access, delivery } = this.context
    if (!access.holds(login)) throw new PacketError(Reason.NOT_AUTHORIZED, "its account was removed or its password changed")
    delivery.sessions.expire(clientId)
    const session = delivery.sessions.get(clientId)
    if (session && !access.mayTake(session.user, login.user))
      throw new PacketError(Reason.NOT_AUTHORIZED, "the session with this client identifier belongs to another user")
    return session
  }

  private connack(to: { version: ProtocolVersion; present: boolean; assigned: string | undefined; waiting: Count | undefined }): Buffer {
    const { version, present, assigned, waiting } = to
    if (version < 5) return Buffer.from([0x20, 2, present && version === 4 ? 1 : 0, 0])
    const properties = {
      receiveMaximum: RECEIVE_MAXIMUM,
      sharedSubscriptionAvailable: false,
      maximumPacketSize: this.context.limits.packetBytes,
      ...(assigned === undefined ? {} : { assignedClientIdentifier: assigned }),
    }
    const packet = { cmd: "connack", reasonCode: Reason.SUCCESS, sessionPresent: present } as const
    if (!waiting?.exact) return write({ ...packet, properties }, version)
    const userProperties = { "messages-waiting": String(waiting.messages) }
    const bytes = write({ ...packet, properties: { ...properties, userProperties } }, version)
    // a packet that is too large for the client must not be sent [MQTT-3.1.2-24]; what it can do without goes first
    return bytes.length <= this.connection.maximumPacketSize ? bytes : write({ ...packet, properties }, version)
  }

  /** SUBSCRIBE: one Topic Filter at a time; what counts is the packet that went in and the code that came out (section 3.8). */
  async subscribe({ id, subscriptionIdentifier: identifier, subscriptions }: SubscribePacket): Promise<void> {
    const { connection, context } = this
    const { retained, sessions } = context.delivery
    const codes: number[] = []
    const wanted: Wanted[] = []
    if (connection.session) connection.session.isQuiet = true
    for (const { filter, qos, noLocal, retainAsPublished, retainHandling } of subscriptions) {
      const turn = context.runs.turns.share()
      if (turn) await turn // oxlint-disable-line no-await-in-loop -- others have theirs
      // oxlint-disable-next-line no-await-in-loop -- in the order of the packet
      const code =
        this.full(filter) || this.hasNoRoom(filter, retainHandling) ? this.failure(Reason.QUOTA_EXCEEDED) : await this.askOne(filter, qos)
      if (code === undefined) return
      codes.push(code)
      if (code >= 0x80 && connection.session) context.log.refusedSubscription(connection.session, filter, code)
      if (code >= 0x80 || !connection.session) continue
      const isNew = !connection.session.subscriptions.has(filter)
      if (retainHandling === 0 || (retainHandling === 1 && isNew)) wanted.push({ filter, qos, upTo: retained.sequence })
      sessions.subscribe(connection.session, filter, { qos, noLocal, retainAsPublished, identifier })
    }
    const persistent = connection.session?.persistent ?? false
    // oxlint-disable-next-line no-await-in-loop -- one filter after the other
    if (persistent) for (const one of wanted) await connection.retained?.store(one)
    if (connection.closed) return
    connection.replies.send(write({ cmd: "suback", messageId: id, granted: codes }, connection.version), persistent)
    const answered = new Promise<void>((resolve) => {
      connection.replies.afterwards(() => {
        if (connection.session) connection.session.isQuiet = false
        connection.session?.pump()
        resolve()
      }, persistent)
    })
    for (const one of wanted) connection.retained?.request(one, answered)
  }

  private full(filter: string): boolean {
    const { session } = this.connection
    if (!session || session.subscriptions.has(filter)) return false
    if (session.subscriptions.size >= this.context.limits.subscriptions) return true
    return session.persistent && !session.tally.mayKeep(costOfSubscription(filter) + costOfHold(filter))
  }

  /** Whether the Subscription of a persistent Session, or the retained messages that it asks for, find no room in the store. */
  private hasNoRoom(filter: string, retainHandling: number): boolean {
    const { connection, context } = this
    const { commits, retained } = context.delivery
    if (!commits.isCrowded || connection.session?.persistent !== true) return false
    if (!connection.session.subscriptions.has(filter)) return true
    return retainHandling === 0 && retained.has(filter)
  }

  /** A reason as a code of SUBACK; before 5.0 there is only one. */
  private failure(reason: ReasonCode): number {
    return this.connection.v5 ? reason : 0x80
  }

  /** The code of one Topic Filter; undefined: the connection is gone. */
  private async askOne(topic: string, qos: QoS): Promise<number | undefined> {
    const { version } = this.connection
    if (topic.startsWith("$share/")) return this.failure(Reason.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED)
    const one = write({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic, qos }] }, version)
    const reply = await this.ask(one)
    return reply && (reply.at(-1) ?? Reason.UNSPECIFIED_ERROR) // the code of one Topic Filter ends the packet
  }

  /** UNSUBSCRIBE (section 3.10). */
  async unsubscribe({ id, filters }: UnsubscribePacket): Promise<void> {
    const { connection, context } = this
    const { version } = connection
    const granted: number[] = []
    for (let k = 0; k < filters.length; k += FILTERS_AT_ONCE) {
      const some = filters.slice(k, k + FILTERS_AT_ONCE)
      const turn = context.runs.turns.share()
      if (turn) await turn // oxlint-disable-line no-await-in-loop -- others have theirs
      // oxlint-disable-next-line no-await-in-loop -- in the order of the packet
      const reply = await this.ask(write({ cmd: "unsubscribe", messageId: id, unsubscriptions: some }, version))
      const { session } = connection
      if (!reply || !session) return
      for (const filter of some) {
        if (connection.closed) return
        // oxlint-disable-next-line no-await-in-loop
        const found = await context.delivery.sessions.unsubscribe(session, filter)
        connection.retained?.forget(filter)
        granted.push(found ? Reason.SUCCESS : Reason.NO_SUBSCRIPTION_EXISTED)
      }
    }
    const { session } = connection
    if (!session) return
    connection.replies.send(write({ cmd: "unsuback", messageId: id, granted }, version), session.persistent)
  }

  /** PINGREQ (section 3.12). */
  async ping(bytes: Buffer): Promise<void> {
    const reply = await this.ask(bytes)
    if (reply) this.connection.push(reply)
  }

  close(): void {
    this.opening?.destroy()
  }

  /** The answer of aedes to what comes after the CONNECT; undefined: the connection ends. */
  private ask(bytes: Buffer): Promise<Buffer | undefined> {
    return this.answered(this.context.engine.ask(bytes, this.connection.version, this))
  }

  maySubscribe(filter: string): boolean {
    return this.connection.session?.permissions?.maySubscribe(filter) ?? true
  }

  /** The answer of aedes; undefined when it closed the connection, or the connection is gone meanwhile. */
  private async answered(answer: Promise<Buffer | undefined>): Promise<Buffer | undefined> {
    const { connection } = this
    const reply = await answer
    if (connection.closed) return undefined
    if (!reply) connection.refuse(Reason.UNSPECIFIED_ERROR, "the control packet was refused")
    return reply
  }
}

/** What is there soon: undefined, where the disk takes longer. */
async function soon<T>(value: Maybe<T>): Promise<T | undefined> {
  return value instanceof Promise ? Promise.race([value, after(SOON_MS, undefined, { ref: false })]) : value
}

/** Refusals as MQTT 3.1.1 says them (section 3.2.2.3), from which aedes makes those of 5.0, and for the log. */
const REFUSALS = {
  "server unavailable": { returnCode: 3, reason: Reason.SERVER_UNAVAILABLE },
  "bad user name or password": { returnCode: 4, reason: Reason.BAD_USER_NAME_OR_PASSWORD },
  "not authorized": { returnCode: 5, reason: Reason.NOT_AUTHORIZED },
} as const

/** Topic Filters of an UNSUBSCRIBE that are treated together. */
const FILTERS_AT_ONCE = 10

/** Persistent is what has a Session Expiry Interval above 0, or in older versions Clean Session 0. */
function sessionRequest(packet: IConnectPacket, clientId: string, version: ProtocolVersion): Omit<SessionRequest, "user" | "place"> {
  const cleanStart = packet.clean ?? true
  if (version < 5) return { clientId, cleanStart, expirySeconds: cleanStart ? 0 : null }
  return { clientId, cleanStart, expirySeconds: sessionExpiry(packet.properties?.sessionExpiryInterval ?? 0) }
}
