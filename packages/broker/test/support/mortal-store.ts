import type { BrokerOptions, TestBroker } from "@mqtt-trio/testing"

/** Points of a store at which a process can be told to die; see disk.c, and mongo-way.ts for a database. */
export const DEATH_POINTS = ["before", "after", "torn", "fold-before", "fold-after", "switch-before", "switch-after"] as const

export type DeathPoint = (typeof DEATH_POINTS)[number]

/** The broker dies by SIGKILL at the nth such point of its store from then on, if there is one. */
export interface Death {
  at: DeathPoint
  nth: number
}

/**
 * How it ended: the machine of its store lost power, or the broker alone died, and what it wrote still arrives where it is
 * stored.
 */
export type End = "power" | "process"

/** A store on which a broker dies where it is told to. */
export interface MortalStore {
  /** What a broker on it is started with. */
  readonly options: BrokerOptions & { readonly dir: string }
  /** Whether the broker dies at its points: else it can only be killed. */
  readonly hasPoints: boolean
  arm(death: Death, broker: TestBroker): void
  disarm(): void
  /** Starts the broker, which is dead, on what is left; resolves when it is ready. What is armed goes on to be. */
  restart(broker: TestBroker, end: End): Promise<void>
}
