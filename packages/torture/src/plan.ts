import { Random } from "./random.js"

const FEWEST_ACKNOWLEDGEMENTS = 50
const LONGEST_WAIT_MS = 5
const SIGNALLED_SHARE = 0.75
const MOVES_PER_ROUND = 10
const LONGEST_AWAY_MS = 1500

/** Something that one client does once `afterAcknowledgements` of the round have come. */
export interface Move {
  afterAcknowledgements: number
  kind: "leave" | "cut" | "drop" | "come" | "takeOver" | "cutPublisher"
  /** Index of the subscriber, or of the publisher for `cutPublisher`. */
  client: number
}

/** Who gets the signal at the end of a round: the broker, or the server of its store. */
export type Victim = "broker" | "server"

/** What happens until the broker gets its signal or, in some rounds, does not. */
export interface Round {
  /** Acknowledgements until its end, and how long it waits after the last of them. */
  acknowledgements: number
  waitMs: number
  /** Every second publisher is deaf during that wait: acknowledgements are lost with the broker. */
  deaf: boolean
  /** Who gets a signal at its end; otherwise all live on. */
  victim: Victim | undefined
  /** How long the server stays away, at least. */
  awayMs: number
  /** In the order in which they are due. */
  moves: Move[]
}

export interface PlanOptions {
  seed: number
  rounds: number
  publishers: number
  /** 0 for a plan in which the subscribers stay as they are. */
  subscribers: number
  /** Acknowledgements of the longest round. */
  mostAcknowledgements: number
  /** Who may get signals: several do in turn, which of them first is left to chance. */
  victims: readonly Victim[]
}

/** The moves of a torture. The same options give the same plan. */
export function planRounds(options: PlanOptions): Round[] {
  const random = new Random(options.seed)
  const rounds = Array.from({ length: options.rounds }, () => planRound(random, options))
  const { victims } = options
  let turn = random.integer(0, Math.max(0, victims.length - 1))
  return rounds.map(({ signal, ...round }) => {
    const victim = signal ? victims[turn++ % victims.length] : undefined
    return { ...round, victim, awayMs: victim === "server" ? random.integer(0, LONGEST_AWAY_MS) : 0 }
  })
}

function planRound(random: Random, options: PlanOptions): Omit<Round, "victim" | "awayMs"> & { signal: boolean } {
  const acknowledgements = random.scaled(FEWEST_ACKNOWLEDGEMENTS, options.mostAcknowledgements)
  const waitMs = random.chance(0.5) ? 0 : random.next() * LONGEST_WAIT_MS
  const deaf = random.chance(0.5)
  const signal = random.chance(SIGNALLED_SHARE)
  const count = options.subscribers > 0 ? random.integer(1, MOVES_PER_ROUND) : 0
  const moves = Array.from({ length: count }, () => planMove(random, options, acknowledgements))
  return { acknowledgements, waitMs, deaf, signal, moves: moves.toSorted((a, b) => a.afterAcknowledgements - b.afterAcknowledgements) }
}

function planMove(random: Random, options: PlanOptions, acknowledgements: number): Move {
  const afterAcknowledgements = random.integer(0, acknowledgements)
  if (random.chance(0.15)) return { afterAcknowledgements, kind: "cutPublisher", client: random.integer(0, options.publishers - 1) }
  const kind = random.pick(["leave", "cut", "drop", "drop", "come", "come", "come", "takeOver"] as const)
  return { afterAcknowledgements, kind, client: random.integer(0, options.subscribers - 1) }
}
