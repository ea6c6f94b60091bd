import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { Checker, type Verdict } from "./checker/checker.js"
import type { StoredQos } from "./checker/stream.js"
import { AcknowledgementFile } from "./acknowledgement-file.js"
import { inGroups, liveCast, sparseCast, subscribeAll, type Cast, type CastOptions } from "./cast.js"
import { planRounds, type Move, type Round } from "./plan.js"
import { progressUntil } from "./progress.js"
import type { Budget, TorturePublisher } from "./publisher.js"
import type { TorturedBroker, TortureSignal } from "./tortured-broker.js"

/** Shapes of a torture: `live` has subscribers that come and go, `sparse` many absent sessions with logs of their own. */
export type TortureShape = "live" | "sparse" | "all"

export interface TortureOptions {
  shape: TortureShape
  rounds: number
  publishers: number
  subscribers: number
  /** Absent sessions of the sparse shape. */
  sessions: number
  qos: StoredQos
  signal: TortureSignal
  seed: number
  /** Ends the torture early. */
  stop?: AbortSignal | undefined
  /** Told what happens, a line at a time. */
  progress?: (line: string) => void
}

/** What was done, and what it showed. */
export interface TortureReport {
  verdict: Verdict
  /** Signals sent to the broker. */
  signals: number
  durationMs: number
}

/** Publishers may be ahead of the planned acknowledgements by this many messages while a signal is on its way. */
const MESSAGES_AHEAD = 3000
const LONGEST_LIVE_ROUND = 10_000
const LONGEST_SPARSE_ROUND = 5000
const ACKNOWLEDGEMENT_STALL_MS = 20_000
const DELIVERY_STALL_MS = 10_000
/** Rounds of PINGREQ in a row that bring nothing else, until all queues count as empty: an exchange at QoS 2 takes some. */
const QUIET_PINGS = 10

/** Tortures the broker and gives the verdict. The target is started and, at the end, stopped. */
export async function torture(target: TorturedBroker, options: TortureOptions): Promise<TortureReport> {
  const folder = mkdtempSync(join(tmpdir(), "mqtt-torture-"))
  const acknowledgements = new AcknowledgementFile(join(folder, "acknowledged"))
  const startedAt = performance.now()
  const run = new Run(target, options, acknowledgements)
  try {
    await target.start()
    if (options.shape !== "sparse") await run.live()
    if (options.shape !== "live") await run.sparse()
    await run.leftOver()
    return { verdict: run.checker.verdict(), signals: run.signals, durationMs: Math.round(performance.now() - startedAt) }
  } finally {
    await run.goAway()
    await target.end("SIGKILL")
    acknowledgements.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

class Run {
  readonly checker = new Checker()
  signals = 0
  private readonly target: TorturedBroker
  private readonly options: TortureOptions
  private readonly acknowledgements: AcknowledgementFile
  private readonly budget: Budget = { remaining: 0 }
  private readonly prefix = `torture-${process.pid}-${Date.now().toString(36)}`
  private readonly casts: Cast[] = []
  /** Moves that were begun; those that wait for the broker go on while it is down. */
  private readonly moves: Promise<void>[] = []
  private stalled = false

  constructor(target: TorturedBroker, options: TortureOptions, acknowledgements: AcknowledgementFile) {
    this.target = target
    this.options = options
    this.acknowledgements = acknowledgements
  }

  async live(): Promise<void> {
    const { seed, rounds, publishers, subscribers } = this.options
    const cast = liveCast(this.castOptions())
    this.casts.push(cast)
    await subscribeAll(cast.subscribers)
    const plan = planRounds({ seed, rounds, publishers, subscribers, mostAcknowledgements: LONGEST_LIVE_ROUND })
    await this.rounds("live", cast, plan)
    await this.finish(cast)
    await this.drain("live", cast)
  }

  async sparse(): Promise<void> {
    const { seed, rounds, publishers } = this.options
    const cast = sparseCast(this.castOptions(), this.options.sessions)
    this.casts.push(cast)
    await subscribeAll(cast.subscribers)
    await inGroups(cast.subscribers, (subscriber) => subscriber.leave())
    const plan = planRounds({ seed: seed + 1, rounds, publishers, subscribers: 0, mostAcknowledgements: LONGEST_SPARSE_ROUND })
    await this.rounds("sparse", cast, plan)
    await this.finish(cast)
    await this.drainUnderFire(cast)
    await this.drain("sparse", cast)
  }

  /** Once all is delivered, acknowledged and quiet, no session may get anything again. */
  async leftOver(): Promise<void> {
    const { checker } = this
    if (this.stalled || checker.outstanding > 0) return
    const subscribers = this.casts.flatMap((cast) => cast.subscribers)
    // Repeats that a publisher caused may still stand in a queue, behind exchanges at QoS 2 that are not complete.
    const heard = (): number => subscribers.reduce((sum, subscriber) => sum + subscriber.heard, 0)
    for (let quiet = 0; quiet < QUIET_PINGS;) {
      const before = heard()
      await inGroups(subscribers, (subscriber) => subscriber.ping())
      quiet = heard() === before ? quiet + 1 : 0
    }
    await inGroups(subscribers, (subscriber) => subscriber.leave())
    checker.complete()
    await inGroups(subscribers, async (subscriber) => {
      await subscriber.ping()
      await subscriber.leave()
    })
  }

  /** Ends all clients; a broker that somebody else started keeps no session of theirs. */
  async goAway(): Promise<void> {
    const clients = this.casts.flatMap(({ publishers, subscribers }) => [...publishers, ...subscribers])
    for (const client of clients) client.cut()
    // Best effort: a broker that is gone keeps nothing, and the verdict stands either way.
    if (!this.target.isOurs) await inGroups(clients, (client) => client.forget().catch(() => {}))
  }

  private async rounds(name: string, cast: Cast, plan: Round[]): Promise<void> {
    await Promise.all(cast.publishers.map((publisher) => publisher.come()))
    for (const [index, round] of plan.entries()) {
      if (this.stalled) return
      await this.round(cast, round)
      if (round.signal) await this.signal()
      if (round.deaf) this.moves.push(...deafened(cast).map((publisher) => publisher.takeOver()))
      this.note(`${name}: round ${index + 1} of ${plan.length}, ${acknowledged(cast)} acknowledged, ${this.checker.outstanding} to deliver`)
    }
  }

  private async round(cast: Cast, round: Round): Promise<void> {
    const from = acknowledged(cast)
    const moves = [...round.moves]
    this.budget.remaining = round.acknowledgements + MESSAGES_AHEAD
    const step = (): void => {
      const done = acknowledged(cast) - from
      while (moves[0] && moves[0].afterAcknowledgements <= done) this.moves.push(makeMove(cast, moves.shift()))
      for (const publisher of cast.publishers) publisher.pump()
    }
    const reached = (): boolean => acknowledged(cast) - from >= round.acknowledgements
    await this.progress(reached, () => acknowledged(cast), ACKNOWLEDGEMENT_STALL_MS, step)
    if (round.deaf) for (const publisher of deafened(cast)) publisher.deafen()
    await delay(round.waitMs)
  }

  private async signal(): Promise<void> {
    const { signal } = this.options
    if (signal === "none") return
    this.signals++
    await this.target.end(`SIG${signal}`)
    this.checker.brokerEnded()
    await this.target.start()
  }

  /** Publishes nothing more and waits for the last acknowledgements. */
  private async finish(cast: Cast): Promise<void> {
    this.budget.remaining = 0
    for (const publisher of cast.publishers) if (!publisher.isOnline) await publisher.come()
    const unfinished = (): number => cast.publishers.reduce((sum, publisher) => sum + publisher.unfinished, 0)
    await this.progress(
      () => unfinished() === 0,
      () => acknowledged(cast) - unfinished(),
      ACKNOWLEDGEMENT_STALL_MS,
    )
    if (this.stalled) return
    await Promise.all(this.moves.splice(0))
    await Promise.all(cast.publishers.map((publisher) => publisher.leave()))
  }

  /** All absent sessions come at once; in the middle of it the broker gets one more signal. */
  private async drainUnderFire(cast: Cast): Promise<void> {
    if (this.stalled) return
    const half = Math.floor(this.checker.outstanding / 2)
    const coming = Promise.all(cast.subscribers.map((subscriber) => subscriber.come()))
    const { checker } = this
    await this.progress(
      () => checker.outstanding <= half,
      () => checker.deliveryCount,
      DELIVERY_STALL_MS,
    )
    await this.signal()
    await coming
  }

  /** All subscribers come and read until nothing is missing, or until nothing has come for 10 s. */
  private async drain(name: string, cast: Cast): Promise<void> {
    const { checker } = this
    await Promise.all(cast.subscribers.map((subscriber) => subscriber.behave()))
    const { stop } = this.options
    const done = (): boolean => checker.outstanding === 0
    await progressUntil({ done, progress: () => checker.deliveryCount, stallMs: DELIVERY_STALL_MS, signal: stop })
    if (this.target.hasEnded) checker.report("stalled", ["the broker ended without being told to", this.stderr()])
    this.note(`${name}: drained, ${checker.outstanding} missing`)
  }

  private async progress(done: () => boolean, progress: () => number, stallMs: number, step?: () => void): Promise<void> {
    if (this.stalled) return
    const { stop } = this.options
    if (await progressUntil({ done, progress, stallMs, signal: stop, ...(step && { step }) })) return
    this.stalled = true
    this.checker.report("stalled", [`nothing happened for ${stallMs / 1000} s`, this.stderr()])
  }

  private stderr(): string {
    return `the broker's stderr: ${this.target.stderr || "empty"}`
  }

  private castOptions(): CastOptions {
    const { publishers, subscribers, qos, seed } = this.options
    const { checker, budget, acknowledgements, prefix } = this
    return { address: this.target.address, prefix, publishers, subscribers, qos, seed, budget, checker, acknowledgements }
  }

  private note(line: string): void {
    this.options.progress?.(line)
  }
}

function acknowledged(cast: Cast): number {
  return cast.publishers.reduce((sum, publisher) => sum + publisher.acknowledged, 0)
}

function deafened(cast: Cast): TorturePublisher[] {
  return cast.publishers.filter((_, index) => index % 2 === 1)
}

async function makeMove(cast: Cast, move: Move | undefined): Promise<void> {
  if (move?.kind === "cutPublisher") {
    const publisher = cast.publishers[move.client]
    publisher?.cut()
    return publisher?.come()
  }
  const subscriber = move && cast.subscribers[move.client]
  if (!subscriber) return
  switch (move.kind) {
    case "leave":
      return subscriber.leave()
    case "cut":
      return subscriber.cut()
    case "drop":
      return subscriber.drop()
    case "come":
      return subscriber.come()
    case "takeOver":
      return subscriber.takeOver()
  }
}
