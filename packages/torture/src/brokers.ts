import type { Address } from "./address.js"
import { firstToAccept } from "./foreground-command.js"
import type { TorturedBroker } from "./tortured-broker.js"

/** How long a broker that was replaced may take to end, in ms. */
const END_LIMIT_MS = 20_000
const LOOK_MS = 20
const LAST_WORDS = 1000

export interface BrokersOptions {
  /** Exit code of a broker that another one has replaced. */
  replacedExitCode: number | undefined
  /** Told when the one that served is over for its clients, before they are sent to the next. */
  over: () => void
}

/** The brokers under torture, on one store: one serves, the others stand by. */
export class Brokers {
  /** Where the one that serves listens: the same object from the first to the last, its port changes. */
  readonly address: Address
  /** How often one that stood by took over, and the longest time that it took, in ms. */
  takeOvers = 0
  longestTakeOverMs = 0
  private serving: TorturedBroker
  /** One behind the other. */
  private line: Promise<unknown> = Promise.resolve()
  private changes = 0
  private looking: NodeJS.Timeout | undefined
  private hasFallen = false
  private isOver = false
  private tellGone: (why: string) => void = () => {}
  /** Resolves, with words, when nobody serves and nobody will. */
  readonly gone = new Promise<string>((resolve) => (this.tellGone = resolve))

  constructor(
    private readonly all: readonly [TorturedBroker, ...TorturedBroker[]],
    private readonly options: BrokersOptions,
  ) {
    this.serving = all[0]
    this.address = { ...all[0].address }
  }

  /** False for a broker that somebody else started. */
  get isOurs(): boolean {
    return this.serving.isOurs
  }

  /** What the brokers wrote to stderr last. */
  get stderr(): string {
    return this.all.map(({ stderr }) => stderr).join("")
  }

  /** True when one ended that was neither told to nor replaced. */
  get hasEnded(): boolean {
    return this.hasFallen || this.all.some((broker) => broker.hasEnded && !this.isReplaced(broker))
  }

  /** Starts them; resolves when the first accepts connections. */
  async start(): Promise<void> {
    await this.serving.start()
    for (const broker of this.all.slice(1)) broker.launch()
    this.looking = setInterval(() => this.look(), LOOK_MS)
  }

  /** Sends the signal to the one that serves; resolves when one accepts connections again. The ended one is started again. */
  signal(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    return this.change(() => this.replace((broker) => broker.end(signal)))
  }

  /** Stops the one that serves (SIGSTOP); resolves with it when another one has taken over. */
  putToSleep(): Promise<TorturedBroker> {
    return this.change(async () => {
      const sleeper = this.serving
      sleeper.sleep()
      await this.takeOver(sleeper, performance.now())
      return sleeper
    })
  }

  /** Lets it go on, and starts it again when it has ended; resolves with what was wrong with its end. */
  wake(sleeper: TorturedBroker): Promise<string | undefined> {
    return this.change(async () => {
      const ended = await sleeper.wake(END_LIMIT_MS)
      const { exitCode } = sleeper
      await sleeper.end("SIGKILL")
      sleeper.launch()
      if (!ended) return `${END_LIMIT_MS / 1000} s later it had not ended`
      return exitCode === this.options.replacedExitCode ? undefined : `it ended with ${exitCode ?? "a signal"}`
    })
  }

  /** Ends all; none is started again. */
  async end(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    clearInterval(this.looking)
    this.isOver = true
    await this.line
    await Promise.all(this.all.map((broker) => broker.end(signal)))
  }

  private change<T>(task: () => Promise<T>): Promise<T> {
    this.changes++
    const done = this.line.then(() => (this.isOver ? new Promise<never>(() => {}) : task())).finally(() => this.changes--)
    this.line = done.catch(() => {})
    return done
  }

  /** Whether one ended unasked: its lease ran out while the machine, or the store's server, was busy; or it fell. */
  private look(): void {
    if (this.changes > 0) return
    const { serving } = this
    if (serving.hasEnded) {
      this.hasFallen ||= !this.isReplaced(serving)
      if (this.all.length === 1) return this.tellGone(`the broker ended without being told to: ${serving.stderr.slice(-LAST_WORDS)}`)
      this.change(() => this.replace(async () => {})).catch(() => {}) // told as gone
    } else for (const broker of this.all) if (this.isReplaced(broker)) broker.launch()
  }

  private isReplaced({ exitCode }: TorturedBroker): boolean {
    return this.all.length > 1 && exitCode !== undefined && exitCode === this.options.replacedExitCode
  }

  private async replace(end: (broker: TorturedBroker) => Promise<void>): Promise<void> {
    const { serving } = this
    const from = performance.now()
    await end(serving)
    if (this.all.length > 1) {
      await this.takeOver(serving, from)
      return serving.launch()
    }
    this.options.over()
    await serving.start()
  }

  /** Resolves when another one serves, to whom the clients come from now on. */
  private async takeOver(from: TorturedBroker, since: number): Promise<void> {
    const others = this.all.filter((broker) => broker !== from && !broker.isAsleep)
    const allEnded = (): string | undefined => (others.every(({ hasEnded }) => hasEnded) ? "those that stood by ended" : undefined)
    this.serving = await firstToAccept(others, allEnded).catch((cause: unknown) => {
      const why = `no broker took over: ${others.map(({ stderr }) => stderr.slice(-LAST_WORDS)).join("") || "no message"}`
      this.tellGone(why)
      throw new Error(why, { cause })
    })
    this.takeOvers++
    this.longestTakeOverMs = Math.max(this.longestTakeOverMs, Math.round(performance.now() - since))
    this.options.over()
    this.address.port = this.serving.address.port
  }
}
