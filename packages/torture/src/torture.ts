import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { Checker, type Verdict } from "./checker/checker.js"
import type { StoredQos } from "./checker/stream.js"
import { AcknowledgementFile } from "./acknowledgement-file.js"
import { Brokers } from "./brokers.js"
import { inGroups, lateCast, liveCast, sparseCast, subscribeAll, type Cast, type CastOptions } from "./cast.js"
import { planRounds, type Move, type Round, type Victim } from "./plan.js"
import { progressUntil } from "./progress.js"
import type { PersistentClient } from "./persistent-client.js"
import { TorturePublisher, type Budget } from "./publisher.js"
import type { StoreServer } from "./store-server.js"
import type { TortureSubscriber } from "./subscriber.js"
import type { TorturedBroker } from "./tortured-broker.js"

/** Shapes of a torture: `live` has subscribers that come and go, `sparse` many absent sessions with logs of their own. */
export type TortureShape = "live" | "sparse" | "all"

/** What the broker that serves gets; STOP: SIGSTOP until another one has taken over, then SIGCONT. `none` leaves it alone. */
export type TortureSignal = "KILL" | "TERM" | "STOP" | "none"

export interface TortureOptions {
  shape: TortureShape
  rounds: number
  publishers: number
  subscribers: number
  /** Absent sessions of the sparse shape. */
  sessions: number
  qos: StoredQos
  /** Of the longest round; half of it in the sparse shape. */
  acknowledgements: number
  /** STOP needs a broker that stands by. */
  signal: TortureSignal
  /** Is killed in turn with the broker, which lives on. */
  storeServer?: StoreServer | undefined
  /** The store is there when all is over: then no session of the torture is left in it. */
  lastingStore?: boolean
  /** Exit code of a broker that another one has replaced. */
  replacedExitCode?: number
  seed: number
  /** Ends the torture early. */
  stop?: AbortSignal | undefined
  /** Told what happens, a line at a time. */
  progress?: (line: string) => void
}

/** What was done, and what it showed. */
export interface TortureReport {
  verdict: Verdict
  signal: TortureSignal
  /** How often it was sent to the broker that served. */
  signals: number
  /** How often the store's server was killed. */
  serverKills: number
  /** How often a broker that stood by took over, and the longest time that it took. */
  takeOvers: number
  longestTakeOverMs: number
  durationMs: number
}

/** Publishers may be ahead of the planned acknowledgements by this share of the longest round while a signal is on its way. */
const SHARE_AHEAD = 0.3
const ACKNOWLEDGEMENT_STALL_MS = 20_000
const DELIVERY_STALL_MS = 10_000
/** Rounds of PINGREQ in a row that bring nothing else, until all queues count as empty: an exchange at QoS 2 takes some. */
const QUIET_PINGS = 10
/** What each publisher that stays with a sleeping broker sends to it after it was replaced. */
const MESSAGES_IN_VAIN = 20
/** What is acknowledged by the next broker while the one before sleeps. */
const ACKNOWLEDGEMENTS_MEANWHILE = 20

/** Tortures the broker, or several on one store, and gives the verdict. They are started and, at the end, stopped. */
export async function torture(targets: readonly [TorturedBroker, ...TorturedBroker[]], options: TortureOptions): Promise<TortureReport> {
  const folder = mkdtempSync(join(tmpdir(), "mqtt-torture-"))
  const acknowledgements = new AcknowledgementFile(join(folder, "acknowledged"))
  const startedAt = performance.now()
  const run = new Run(targets, options, acknowledgements)
  try {
    await run.start()
    await run.all()
    return { ...run.report(), durationMs: Math.round(performance.now() - startedAt) }
  } finally {
    await run.end()
    acknowledgements.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

class Run {
  private readonly checker = new Checker()
  private readonly brokers: Brokers
  private signals = 0
  private serverKills = 0
  private readonly options: TortureOptions
  private readonly acknowledgements: AcknowledgementFile
  private readonly budget: Budget = { remaining: 0 }
  private readonly prefix = `torture-${process.pid}-${Date.now().toString(36)}`
  private readonly casts: Cast[] = []
  /** Moves that were begun; those that wait for the broker go on while it is down. */
  private readonly moves: Promise<void>[] = []
  private readonly victims: Victim[]
  private stalled = false

  constructor(targets: readonly [TorturedBroker, ...TorturedBroker[]], options: TortureOptions, acknowledgements: AcknowledgementFile) {
    const { replacedExitCode, signal, storeServer } = options
    this.brokers = new Brokers(targets, { replacedExitCode, over: () => this.checker.brokerEnded() })
    this.options = options
    this.acknowledgements = acknowledgements
    this.victims = [...(signal === "none" ? [] : ["broker" as const]), ...(storeServer ? ["server" as const] : [])]
  }

  async start(): Promise<void> {
    await this.options.storeServer?.start()
    await this.brokers.start()
  }

  async end(): Promise<void> {
    const { lastingStore, storeServer } = this.options
    await this.goAway()
    await this.brokers.end(lastingStore === true ? "SIGTERM" : "SIGKILL")
    await storeServer?.end("SIGTERM")
  }

  report(): Omit<TortureReport, "durationMs"> {
    const { checker, signals, serverKills } = this
    const { takeOvers, longestTakeOverMs } = this.brokers
    return { verdict: checker.verdict(), signal: this.options.signal, signals, serverKills, takeOvers, longestTakeOverMs }
  }

  /** Ends early when nobody serves any more. */
  async all(): Promise<void> {
    const shapes = this.shapes()
    shapes.catch(() => {}) // what goes on among clients that find nobody
    const gone = await Promise.race([shapes, this.brokers.gone])
    if (gone !== undefined) this.checker.report("stalled", [gone])
  }

  private async shapes(): Promise<undefined> {
    const { shape } = this.options
    if (shape !== "sparse") await this.live()
    if (shape !== "live") await this.sparse()
    await this.leftOver()
    return undefined
  }

  private async live(): Promise<void> {
    const { seed, rounds, publishers, subscribers, acknowledgements: mostAcknowledgements } = this.options
    const cast = liveCast(this.castOptions())
    this.casts.push(cast)
    await subscribeAll(cast.subscribers)
    const { victims } = this
    const plan = planRounds({ seed, rounds, publishers, subscribers, mostAcknowledgements, victims })
    await this.rounds("live", cast, plan)
    await this.finish(cast)
    await this.drain("live", cast)
  }

  private async sparse(): Promise<void> {
    const { seed, rounds, publishers, acknowledgements } = this.options
    const mostAcknowledgements = Math.ceil(acknowledgements / 2)
    const cast = sparseCast(this.castOptions(), this.options.sessions)
    this.casts.push(cast)
    await subscribeAll(cast.subscribers)
    await inGroups(cast.subscribers, (subscriber) => subscriber.leave())
    const { victims } = this
    const plan = planRounds({ seed: seed + 1, rounds, publishers, subscribers: 0, mostAcknowledgements, victims })
    await this.rounds("sparse", cast, plan)
    await this.finish(cast)
    await this.drainUnderFire(cast)
    await this.drain("sparse", cast)
  }

  /** Once all is delivered, acknowledged and quiet, no session may get anything again. */
  private async leftOver(): Promise<void> {
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

  /** Ends all clients; a store that is not the torture's own keeps no session of theirs. */
  private async goAway(): Promise<void> {
    const clients = this.casts.flatMap(({ publishers, subscribers }) => [...publishers, ...subscribers])
    for (const client of clients) client.cut()
    // Best effort: a broker that is gone keeps nothing, and the verdict stands either way.
    if (!this.brokers.isOurs || this.options.lastingStore === true) await inGroups(clients, (client) => client.forget().catch(() => {}))
  }

  private async rounds(name: string, cast: Cast, plan: Round[]): Promise<void> {
    await Promise.all(cast.publishers.map((publisher) => publisher.come()))
    for (const [index, round] of plan.entries()) {
      if (this.stalled) return
      await this.round(cast, round)
      await this.strike(cast, round)
      if (round.deaf) this.moves.push(...deafened(cast).map((publisher) => publisher.takeOver()))
      this.note(`${name}: round ${index + 1} of ${plan.length}, ${acknowledged(cast)} acknowledged, ${this.checker.outstanding} to deliver`)
    }
  }

  private async round(cast: Cast, round: Round): Promise<void> {
    const from = acknowledged(cast)
    const moves = [...round.moves]
    this.budget.remaining = round.acknowledgements + Math.ceil(this.options.acknowledgements * SHARE_AHEAD)
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

  private async strike(cast: Cast, { victim, awayMs }: Pick<Round, "victim" | "awayMs">): Promise<void> {
    const { signal, storeServer } = this.options
    if (victim === "server") {
      this.serverKills++
      await storeServer?.end("SIGKILL")
      await delay(awayMs)
      await storeServer?.start()
    } else if (victim === "broker" && signal !== "none") {
      this.lookForEnded()
      this.signals++
      await (signal === "STOP" ? this.sleep(cast) : this.brokers.signal(`SIG${signal}`))
    }
  }

  /** The one that serves sleeps until another one has taken over, and wakes among clients that hold on to it. */
  private async sleep(cast: Cast): Promise<void> {
    const { brokers, checker } = this
    const late = lateCast(this.castOptions(), this.signals)
    this.casts.push({ publishers: [late.publisher], subscribers: [late.subscriber] })
    await late.publisher.come()
    const sleeper = await brokers.putToSleep()
    const leaving = [...deafened(cast), ...everySecond(cast.subscribers)].filter(({ isOnline }) => isOnline)
    const staying = [...cast.publishers.filter((publisher) => publisher.isOnline && !leaving.includes(publisher)), late.publisher]
    this.moves.push(...leaving.map((client) => client.takeOver()))
    await this.meanwhile(cast, leaving, late.subscriber)
    for (const publisher of staying) publisher.publishInVain(MESSAGES_IN_VAIN)
    cast.publishers.push(late.publisher)
    cast.subscribers.push(late.subscriber)
    this.casts.pop()
    const wrong = await brokers.wake(sleeper)
    if (wrong !== undefined)
      checker.report("outlived", [`a broker that was replaced while it slept was woken, and ${wrong}`, this.stderr()])
  }

  /** Resolves when those that left are with the next broker, one that it has not seen before has subscribed there, and some messages were acknowledged. */
  private async meanwhile(cast: Cast, leaving: readonly PersistentClient[], late: TortureSubscriber): Promise<void> {
    let subscribed = false
    this.moves.push(late.subscribe().then(() => void (subscribed = true)))
    const from = acknowledged(cast)
    const wanted = leaving.some((client) => client instanceof TorturePublisher && client.draws(this.budget))
      ? ACKNOWLEDGEMENTS_MEANWHILE
      : 0
    this.budget.remaining = Math.max(this.budget.remaining, wanted)
    const arrived = (): number => leaving.filter(({ isComing }) => !isComing).length
    await this.progress(
      () => subscribed && arrived() === leaving.length && acknowledged(cast) - from >= wanted,
      () => acknowledged(cast) + this.checker.deliveryCount + arrived(),
      ACKNOWLEDGEMENT_STALL_MS,
    )
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
    await this.strike(cast, { victim: "broker", awayMs: 0 })
    await coming
  }

  /** All subscribers come and read until nothing is missing, or until nothing has come for 10 s. */
  private async drain(name: string, cast: Cast): Promise<void> {
    const { checker } = this
    await Promise.all(cast.subscribers.map((subscriber) => subscriber.behave()))
    const done = (): boolean => checker.outstanding === 0
    const { stop } = this.options
    await progressUntil({ done, progress: () => checker.deliveryCount, stallMs: DELIVERY_STALL_MS, signal: stop })
    this.lookForEnded()
    this.note(`${name}: drained, ${checker.outstanding} missing`)
  }

  private async progress(done: () => boolean, progress: () => number, stallMs: number, step?: () => void): Promise<void> {
    if (this.stalled) return
    const { stop } = this.options
    if (await progressUntil({ done, progress, stallMs, signal: stop, ...(step && { step }) })) return
    this.stalled = true
    this.checker.report("stalled", [`nothing happened for ${stallMs / 1000} s`, this.stderr()])
  }

  private lookForEnded(): void {
    if (this.brokers.hasEnded) this.checker.report("stalled", ["a broker ended without being told to", this.stderr()])
  }

  private stderr(): string {
    return `the broker's stderr: ${this.brokers.stderr || "empty"}`
  }

  private castOptions(): CastOptions {
    const { publishers, subscribers, qos, seed } = this.options
    const { checker, budget, acknowledgements, prefix } = this
    return { address: this.brokers.address, prefix, publishers, subscribers, qos, seed, budget, checker, acknowledgements }
  }

  private note(line: string): void {
    this.options.progress?.(line)
  }
}

function acknowledged(cast: Cast): number {
  return cast.publishers.reduce((sum, publisher) => sum + publisher.acknowledged, 0)
}

function deafened(cast: Cast): TorturePublisher[] {
  return everySecond(cast.publishers)
}

function everySecond<T>(items: readonly T[]): T[] {
  return items.filter((_, index) => index % 2 === 1)
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
