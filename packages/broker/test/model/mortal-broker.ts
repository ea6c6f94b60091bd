import { startBroker, type TestBroker } from "@mqtt-trio/testing"
import type { Death, DeathPoint, End, MortalStore } from "../support/mortal-store.js"

/** The real broker on a store that tells it where to die. */
export class MortalBroker {
  /** Where it died. */
  readonly deaths: DeathPoint[] = []
  private armed: DeathPoint | undefined

  private constructor(
    readonly broker: TestBroker,
    private readonly store: MortalStore,
  ) {}

  static async start(store: MortalStore): Promise<MortalBroker> {
    return new MortalBroker(await startBroker(store.options), store)
  }

  /** Whether it dies at points: else it is only killed. */
  get hasPoints(): boolean {
    return this.store.hasPoints
  }

  arm(death: Death): void {
    this.armed = death.at
    this.store.arm(death, this.broker)
  }

  disarm(): void {
    this.store.disarm()
  }

  /** It died where it was told to. */
  noteDeath(): void {
    if (this.armed) this.deaths.push(this.armed)
  }

  /** Starts it again, when it is dead, on what is left of its store. */
  restart(end: End): Promise<void> {
    return this.store.restart(this.broker, end)
  }
}
