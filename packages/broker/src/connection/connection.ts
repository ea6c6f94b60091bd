import { Pause, type Outlet } from "../delivery/outlet.js"
import { RetainedStream } from "../delivery/retained/retained-stream.js"
import { type Session, UNSENT_BYTES, UNSENT_BYTES_QOS_0 } from "../delivery/sessions/session.js"
import type { Credentials, Login } from "../access/access.js"
import type { Place, Tally } from "../accounting/tally.js"
import type { DisconnectPacket, SubscribePacket, UnsubscribePacket } from "../wire/checks.js"
import { sessionExpiry } from "../wire/session-expiry.js"
import type { ProtocolVersion } from "../wire/packet-types.js"
import { PacketError, protocolError, Reason, type ReasonCode } from "../wire/reason-codes.js"
import type { ByteStream } from "./byte-stream.js"
import type { Client } from "./clients.js"
import type { ConnectionFacts, Context } from "./context.js"
import { type ControlledConnection, ControlFlow, type OpenOptions } from "./control-flow.js"
import { Inbound, type PublishingConnection } from "./inbound.js"
import { refusal, write } from "./control-packets.js"
import type { Timed } from "./keep-alive.js"
import { Output } from "./output.js"
import { overdue, silent } from "./overdue.js"
import { OwnWills } from "./own-wills.js"
import { Pauses } from "./pauses.js"
import { PacketReader, type PacketTaker } from "./packet-reader.js"
import type { RunTaker } from "./publish-reader.js"
import { ReplyLine } from "./reply-line.js"

type Peer = Pick<Credentials, "address" | "certificateUser">

/** How long a connection that the broker ended may take to go, in ms. */
const LINGER_MS = 2000
/** Unsent bytes from which on a client is not read any more: above what any Session lets gather. */
const MOST_UNSENT_BYTES = UNSENT_BYTES_QOS_0 + UNSENT_BYTES

/**
 * One network connection: bytes come through its reader, control packets go to the control flow, messages to delivery,
 * answers leave in the order of the packets. It knows when reading stands still, and it ends.
 */
export class Connection implements Outlet, Timed, Client, ConnectionFacts, ControlledConnection, PublishingConnection, PacketTaker {
  private currentSession: Session | undefined = undefined
  private stream: RetainedStream | undefined = undefined
  private id = ""
  private accepted: Login | undefined = undefined
  maximumPacketSize = Infinity
  private ended = false
  private readonly output: Output
  readonly replies: ReplyLine

  private readonly reader: PacketReader
  private readonly wills: OwnWills
  private readonly control: ControlFlow
  private readonly inbound: Inbound
  readonly publish: RunTaker
  private readonly pauses: Pauses
  private keepAliveMs = 0
  /** when something was read last, by the clock; after the end: when it ended */
  private since: number
  /** bytes that came after the end */
  private afterEnd = 0
  /** CONNACK left */
  private welcomed = false
  /** messages to topics that the client may not publish to */
  private refused = 0

  /** @param arrival the other side, since when it is there, by the clock, and the user that its certificate names */
  constructor(
    private readonly socket: ByteStream,
    private readonly context: Context,
    private readonly arrival: Peer & { readonly remote: string; readonly since: number; readonly tally: Tally },
  ) {
    this.output = new Output(socket, arrival.tally)
    this.pauses = new Pauses(socket, () => {
      this.since = context.clock.now
    })
    this.replies = new ReplyLine(context.delivery.commits, this.output, arrival.tally)
    this.wills = new OwnWills(context.delivery.wills)
    this.control = new ControlFlow(this, context)
    this.inbound = new Inbound(this, context.delivery)
    this.publish = this.inbound.take
    this.reader = new PacketReader(this, context.limits, context.runs, arrival.tally)
    this.since = context.clock.now
  }

  /** From now on the connection is served. */
  start(): void {
    const { context, socket } = this
    context.clients.add(this)
    context.clock.add(this)
    socket.on("data", (chunk: Buffer) => this.read(chunk))
    socket.on("gathered", (bytes) => context.runs.turns.read(bytes, this.pauses))
    socket.on("drain", () => this.drained())
    socket.on("error", () => {}) // 'close' follows
    socket.on("close", () => this.gone())
  }

  get place(): Place {
    return this.arrival.tally.place
  }
  /** What becomes free when it ends. */
  get releasable(): number {
    const { currentSession: session } = this
    return this.arrival.tally.bytes + (session && !session.persistent ? session.tally.bytes : 0)
  }

  get claims(): ConnectionFacts["claims"] {
    return this.control.claims
  }
  get remote(): string {
    return this.arrival.remote
  }
  get peer(): Peer {
    const { address, certificateUser } = this.arrival
    return { address, certificateUser }
  }
  get login(): Login | undefined {
    return this.accepted
  }
  get session(): Session | undefined {
    return this.currentSession
  }
  get retained(): RetainedStream | undefined {
    return this.stream
  }
  get clientId(): string {
    return this.id
  }
  get version(): ProtocolVersion {
    return this.reader.version
  }
  get greeted(): boolean {
    return this.reader.greeted
  }
  get bridge(): boolean {
    return this.reader.bridge
  }
  get v5(): boolean {
    return this.reader.v5
  }
  get closed(): boolean {
    return this.ended
  }
  get outlet(): this {
    return this
  }
  get unsent(): number {
    return this.output.unsent + this.replies.waitingBytes
  }
  get buffer(): Buffer {
    return this.output.buffer
  }
  claim(size: number): number {
    return this.output.claim(size)
  }
  push(bytes: Buffer, sharers = 1): void {
    this.output.push(bytes, sharers)
  }

  pushDurable(bytes: Buffer): void {
    this.replies.send(bytes, true)
  }

  pauseReading(reason: number): void {
    this.pauses.begin(reason)
  }

  resumeReading(reason: number): void {
    this.pauses.end(reason)
  }

  private drained(): void {
    this.output.count()
    this.resumeReading(Pause.UNSENT)
    this.treated()
  }

  private read(chunk: Buffer): void {
    if (this.ended) {
      // what still comes is not looked at; too much of it is not even read
      this.afterEnd += chunk.length
      if (this.reader.exceeds(this.afterEnd)) this.socket.pause()
      return
    }
    const { clock, runs } = this.context
    this.since = clock.now
    runs.turns.begin()
    try {
      if (this.reader.read(chunk)) this.treated()
    } catch (error) {
      this.fail(error)
    }
    runs.turns.read(chunk.length, this.pauses)
  }

  /** Packets were treated: what they made possible is sent, later when this turn lasts long. */
  private treated(): void {
    const { context, currentSession: session } = this
    if (session && context.runs.turns.isLate) context.delivery.pumpLater(session)
    else session?.pump()
    session?.count()
    if (this.unsent > MOST_UNSENT_BYTES) this.pauseReading(Pause.UNSENT)
  }

  acknowledged(type: number, id: number, failed: boolean): void {
    this.currentSession?.acknowledge(type, id, failed)
  }
  released(id: number): void {
    this.inbound.released(id)
  }
  refusedMessages(topic: string, messages: number): void {
    this.refused += messages
    this.context.log.refusedMessages(this, topic, this.refused)
  }
  connect(bytes: Buffer): void {
    this.await(() => this.control.connect(bytes))
  }
  subscribe(packet: SubscribePacket): void {
    this.await(() => this.control.subscribe(packet))
  }
  unsubscribe(packet: UnsubscribePacket): void {
    this.await(() => this.control.unsubscribe(packet))
  }
  ping(bytes: Buffer): void {
    this.await(() => this.control.ping(bytes))
  }

  yield(): void {
    this.pauseReading(Pause.CONTROL)
    this.context.runs.turns.yield(() => this.answered())
  }

  /** Reading waits for the answer; then the rest of the buffer is treated. */
  private await(answer: () => Promise<void>): void {
    this.pauseReading(Pause.CONTROL)
    this.context.runs.turns.take(() => {
      if (this.ended) return
      // one control packet per turn of the event loop: a flood of them takes its turn like everybody
      void answer().then(
        () => setImmediate(() => this.answered()),
        (error: unknown) => this.fail(error),
      )
    })
  }

  /** The client is above its rate: it is not read for so many ms. What was, lies in the socket again: an end of the connection comes behind it. */
  hold(rest: Buffer, ms: number): void {
    this.pauses.beginFor(Pause.RATE, ms)
    this.socket.unshift(rest)
  }

  slowDown(ms: number): void {
    if (!this.pauses.has(Pause.MEMORY)) this.pauses.beginFor(Pause.MEMORY, ms)
  }

  private answered(): void {
    if (this.ended) return
    this.pauses.drop(Pause.CONTROL)
    try {
      this.reader.resume()
      this.treated()
    } catch (error) {
      this.fail(error)
    }
    if (this.currentSession?.persistent) this.waitForStore()
    this.pauses.goOn()
  }

  /** What gathers for the next commit is as much as it may be: nothing is read until some of it was written. */
  waitForStore(): void {
    const { commits } = this.context.delivery
    if (!commits.full || this.pauses.has(Pause.STORE)) return
    this.pauseReading(Pause.STORE)
    commits.whenDrained(() => this.resumeReading(Pause.STORE))
  }

  /** CONNECT was accepted; CONNACK follows. */
  open(session: Session, { login, maximumPacketSize, keepAliveSeconds, will, earlierWill }: OpenOptions): void {
    this.currentSession = session
    this.stream = new RetainedStream(session, this.context.delivery, this.context.runs.turns.behind)
    this.id = session.clientId
    this.accepted = login
    this.maximumPacketSize = maximumPacketSize
    this.keepAliveMs = keepAliveSeconds * 1000
    this.wills.open(will, earlierWill)
    this.reader.widen()
    this.socket.admitted?.()
    this.context.clients.accept(this)
    this.context.log.connected(this)
  }

  /** CONNACK leaves, and what waits for the Session behind it. `receiveMaximum`: most messages in flight. */
  welcome(connack: Buffer, receiveMaximum: number): void {
    if (this.ended || !this.currentSession) return
    this.push(connack)
    this.welcomed = true
    this.currentSession.attach(this, receiveMaximum)
  }

  tick(now: number): void {
    const idle = now - this.since
    if (this.ended) return idle > LINGER_MS ? this.destroy() : undefined
    const { greeted } = this.reader
    const { connectTimeoutMs } = this.context.limits
    const late = this.currentSession
      ? silent(idle, this.pauses.any ? 0 : this.keepAliveMs)
      : overdue({ connectTimeoutMs, greeted, age: now - this.arrival.since, idle })
    if (late) this.refuse(late.reason, late.message)
  }

  /** CONNACK with a refusal that is encoded already. */
  refuseConnect(connack: Buffer, reason: ReasonCode, message: string): void {
    this.push(connack)
    this.end(reason, message)
  }

  private fail(error: unknown): void {
    if (error instanceof PacketError) this.refuse(error.reason, error.message)
    else this.refuse(Reason.UNSPECIFIED_ERROR, `internal error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
  }

  refuse(reason: ReasonCode, message: string): void {
    if (this.ended) return
    if (this.welcomed) {
      if (this.v5) this.push(write({ cmd: "disconnect", reasonCode: reason }, 5))
    } else if (reason === Reason.SESSION_TAKEN_OVER) {
      // no code of CONNACK says this, and DISCONNECT must not come first [MQTT-3.14.0-1]
    } else this.push(refusal(reason, this.greeted && this.v5))
    this.end(reason, message)
  }

  /** DISCONNECT came: what is acknowledged leaves first, then the connection. */
  disconnect({ reason, expirySeconds: seconds }: DisconnectPacket): void {
    if (seconds && this.currentSession?.endsWithConnection !== false)
      throw protocolError("DISCONNECT cannot make a Session persistent that was not [MQTT-3.1.2-23]")
    const stored = (this.currentSession?.persistent ?? false) || this.wills.isArmed
    if (reason === Reason.SUCCESS) this.wills.disarm()
    this.finish(
      undefined,
      reason ? `it disconnected with Reason Code 0x${reason.toString(16)}` : "it disconnected",
      seconds === undefined ? undefined : sessionExpiry(seconds),
    )
    this.replies.afterwards(() => this.shut(), stored)
  }

  /** Others need the memory that it takes. */
  evict(message: string): void {
    const isStuck = this.output.unsent > 0
    this.refuse(Reason.QUOTA_EXCEEDED, message)
    if (!isStuck) return
    this.output.close() // it does not read what it is sent
    this.socket.destroy()
  }

  private end(reason: ReasonCode, message: string): void {
    this.finish(reason, message)
    this.shut()
  }

  /** Leaves Session and registries; the socket is still open for what was said. */
  private finish(reason: ReasonCode | undefined, message: string, expirySeconds?: number | null): void {
    if (this.ended) return
    this.ended = true
    this.since = this.context.clock.now
    this.reader.stop()
    this.control.close()
    if (this.currentSession && this.context.clients.leave(this)) {
      this.context.delivery.sessions.close(this.currentSession, expirySeconds)
      this.wills.end(this.welcomed, !this.currentSession.gone)
    }
    this.context.log.closed(this, reason, message)
  }

  /** The broker stops: what arrives from now on is not accepted, what was is still acknowledged. */
  stopReading(): void {
    this.pauseReading(Pause.STOPPED)
  }

  destroy(): void {
    this.socket.destroy()
  }

  /**
   * Not at once: a TLS socket that is ended while it hands out what it read keeps what comes afterwards, without end, and
   * tells nobody.
   */
  private shut(): void {
    this.output.flush()
    setImmediate(() => {
      this.socket.end()
      this.socket.resume() // to see its end
    })
  }

  /** The socket is closed. */
  private gone(): void {
    this.finish(undefined, "the connection closed")
    this.output.close()
    this.replies.close()
    this.context.clients.remove(this)
    this.context.clock.remove(this)
  }
}
