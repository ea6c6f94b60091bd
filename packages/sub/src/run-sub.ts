import { isatty } from "node:tty"
import {
  CliError,
  connectionSettings,
  counted,
  startTimer,
  type ClientIo,
  type ClientStart,
  type ConnectionSettings,
} from "@mqtt-trio/common"
import { openConnection, type ClientConnection, type ConnectionHandlers, type ReceivedMessage } from "@mqtt-trio/client"
import { messageFormat, type MessageFormat } from "./format/message-format.js"
import { createFilter } from "./message-filter.js"
import { OrderCheck } from "./order-check.js"
import { OutputWriter } from "./output-writer.js"
import { watchReader } from "./reader-watch.js"
import { RetainedRemovals } from "./retained-removals.js"
import type { SubPlan } from "./rules.js"
import { SessionReport } from "./session-report.js"
import { subscribeAll } from "./subscribe.js"

const STDOUT = 1
/** No further messages are taken while more than this waits to be written. */
const MAX_PENDING_BYTES = 4 * 1024 * 1024
/** How long a run that ends waits for output that is not taken, and for a subscription that is not acknowledged. */
const GRACE_MS = 5000

/** Why a run ends. */
type End = { readonly kind: "done" | "timeout" | "signal" | "closed" } | { readonly kind: "failed"; readonly error: unknown }

/** Subscribes and prints as the plan says. Returns the exit code; throws what the user has to know. */
export async function runSub(plan: SubPlan, { diagnostics, listenForStop }: ClientStart): Promise<number> {
  const { values } = plan
  const settings = await connectionSettings(values, {
    name: "mqtt-sub",
    diagnostics,
    versionFixed: plan.versionFixed,
    useUrl: plan.useUrl,
    passwordShown: plan.passwordShown,
  })
  if (values.persistent && plan.subscriptions.some(({ qos }) => qos === 0))
    diagnostics.warn("QoS 0 messages are not queued while you are away: use -q 1")
  const stop = listenForStop()
  const run = new SubRun(plan, { diagnostics, stop })
  const stopTimer = values.timeout === undefined ? undefined : startTimer(values.timeout, () => run.finish({ kind: "timeout" }))
  const stopWatching = watchReader(STDOUT, () => run.finish({ kind: "closed" }))
  stop.signal.addEventListener("abort", () => run.finish({ kind: "signal" }))
  try {
    return (await run.start(settings)) ?? (await run.untilEnd())
  } finally {
    stopTimer?.()
    stopWatching()
  }
}

class SubRun {
  private readonly plan: SubPlan
  private readonly io: ClientIo
  private readonly filter: (message: ReceivedMessage) => boolean
  private readonly format: MessageFormat
  private readonly writer: OutputWriter
  private readonly report: SessionReport | undefined
  private readonly order: OrderCheck | undefined
  private readonly opening = new AbortController()
  private readonly ended: Promise<End>
  private end: (end: End) => void = () => undefined
  /** Nothing is waited for any more: a signal, the timeout, a connection or an output that is gone. */
  private readonly cut: Promise<void>
  private cutShort: () => void = () => undefined
  private over: End | undefined
  private connection: ClientConnection | undefined
  private printed = 0
  /** Messages given to the writer. */
  private pushed = 0
  private readonly removals = new RetainedRemovals()
  private paused = false
  private subscribed = false
  private refused: CliError | undefined
  private limit: NodeJS.Timeout | undefined

  constructor(plan: SubPlan, io: ClientIo) {
    const { values } = plan
    this.plan = plan
    this.io = io
    this.filter = createFilter(values)
    const complain = (text: string): void => io.diagnostics.warn(text)
    this.format = messageFormat(values, { terminal: isatty(STDOUT), complain })
    const events = {
      written: (count: number): void => this.written(count),
      closed: (): void => this.finish({ kind: "closed" }),
      failed: (error: CliError): void => this.finish({ kind: "failed", error }),
    }
    this.writer = new OutputWriter(STDOUT, events, values.persistent)
    if (values.persistent) {
      const { json, quiet } = values
      this.report = new SessionReport({ clientId: values.client ?? "", diagnostics: io.diagnostics, json, quiet })
    }
    if (values.checkOrder) this.order = new OrderCheck()
    this.ended = new Promise((resolve) => {
      this.end = resolve
    })
    this.cut = new Promise((resolve) => {
      this.cutShort = resolve
    })
  }

  private handlers(): ConnectionHandlers {
    return {
      message: (message) => this.take(message),
      connected: (resumed) => {
        this.io.diagnostics.note("connected again")
        if (!resumed || !this.subscribed) void this.subscribe()
      },
      lost: (why) => this.io.diagnostics.warn(`connection lost (${why}); connecting again`),
      failed: (error) => this.finish({ kind: "failed", error }),
    }
  }

  /** Connects and subscribes. Returns the exit code when the run ended before there was a connection. */
  async start(settings: ConnectionSettings): Promise<number | undefined> {
    const { diagnostics, stop } = this.io
    try {
      this.connection = await openConnection({ settings, diagnostics, signal: this.opening.signal, handlers: this.handlers() })
    } catch (error) {
      if (this.over?.kind === "signal") return stop.exitCode
      if (this.over?.kind === "closed") return 0
      throw this.over?.kind === "timeout" ? new CliError("timed-out", "timed out before the connection was made", { cause: error }) : error
    }
    this.report?.start(this.connection.connack)
    this.connection.receive()
    await Promise.race([this.subscribe(), this.cut])
    return undefined
  }

  finish(end: End): void {
    if (end.kind === "done") setTimeout(this.cutShort, GRACE_MS).unref()
    else this.cutShort()
    if (this.over !== undefined) {
      if (end.kind === "signal") this.limitOutput()
      return
    }
    this.over = end
    this.connection?.stopTaking()
    this.opening.abort()
    this.end(end)
  }

  /** Waits for the end, writes out and acknowledges what was taken, disconnects. What could not be written is what the user has to know first. */
  async untilEnd(): Promise<number> {
    const end = await this.ended
    if (end.kind !== "done") this.limitOutput()
    await this.writer.drained()
    clearTimeout(this.limit)
    if (end.kind !== "failed") await this.removals.done(GRACE_MS)
    this.report?.finish()
    await this.connection?.end()
    if (this.writer.failure !== undefined) throw this.writer.failure
    return this.result(end)
  }

  private limitOutput(): void {
    this.limit ??= setTimeout(() => this.giveUp(), GRACE_MS)
  }

  private async subscribe(): Promise<void> {
    const connection = this.connection
    if (connection === undefined) return
    try {
      const refused = await subscribeAll(connection, this.plan, this.io.diagnostics)
      this.refused ??= refused
      this.subscribed = true
      if (this.plan.values.exitAfterSubscribe) this.finish({ kind: "done" })
    } catch (error) {
      // A connection that is lost meanwhile subscribes again when it is back.
      if (error instanceof CliError) this.finish({ kind: "failed", error })
    }
  }

  private take(received: ReceivedMessage): void {
    const { values } = this.plan
    this.report?.message()
    // what a SUBSCRIBE brings comes behind its acknowledgement, with which this run ends: it is not taken, and so not acknowledged
    if (values.exitAfterSubscribe && received.retain) return
    if (values.retainedOnly && !received.retain) {
      this.finish({ kind: "done" })
      return
    }
    const message = this.order?.take(received) ?? received
    this.pushed += 1
    if (!this.filter(message)) {
      this.writer.push([])
      return
    }
    if (values.removeRetained && message.retain) this.removals.add(message, this.pushed)
    this.printed += 1
    this.writer.push(this.format(message) ?? [])
    if (this.printed === values.count) this.finish({ kind: "done" })
    else if (!this.paused && this.writer.pendingBytes > MAX_PENDING_BYTES) {
      this.paused = true
      this.connection?.pause()
    }
  }

  private written(count: number): void {
    this.connection?.written(count)
    if (this.connection !== undefined) this.removals.written(count, this.connection, this.io.diagnostics)
    if (!this.paused || this.writer.pendingBytes > MAX_PENDING_BYTES / 2) return
    this.paused = false
    this.connection?.resume()
  }

  /** The output takes nothing and nothing else is left to do: end as a second signal would. */
  private giveUp(): void {
    this.io.diagnostics.warn("the output takes nothing; ending without it")
    this.io.stop.dispose()
    process.kill(process.pid, this.io.stop.received ?? "SIGTERM")
  }

  private result(end: End): number {
    const { values } = this.plan
    if (this.order !== undefined) this.io.diagnostics.note(this.order.summary)
    if (end.kind === "failed") throw end.error
    this.order?.verify()
    const enough = this.subscribed && this.printed >= (values.count ?? 1)
    if (end.kind === "timeout" && !enough && this.refused === undefined) {
      if (!this.subscribed) throw new CliError("timed-out", "timed out before the subscription was acknowledged")
      const wanted = values.count === undefined ? "no message came" : `${this.printed} of ${counted(values.count, "message")} came`
      throw new CliError("timed-out", `timed out: ${wanted}`)
    }
    if (end.kind === "signal" && (values.count !== undefined || !this.subscribed)) return this.io.stop.exitCode
    // It was reported when it came.
    return this.refused?.exitCode ?? 0
  }
}
