import { expect, test } from "vitest"
import { planRounds } from "../src/plan.js"
import { Random } from "../src/random.js"

const OPTIONS = { seed: 7, rounds: 50, publishers: 6, subscribers: 10, mostAcknowledgements: 10_000, victims: ["broker"] } as const

test("the same seed gives the same moves, another seed others", () => {
  expect(planRounds(OPTIONS)).toEqual(planRounds(OPTIONS))
  expect(planRounds(OPTIONS)).not.toEqual(planRounds({ ...OPTIONS, seed: 8 }))
})

test("moves are within their round, in order, and for clients that exist", () => {
  const plan = planRounds(OPTIONS)
  expect(plan).toHaveLength(OPTIONS.rounds)
  expect(new Set(plan.flatMap(({ moves }) => moves.map(({ kind }) => kind))).size).toBeGreaterThan(3)
  for (const { acknowledgements, moves } of plan) {
    expect(moves.map((move) => move.afterAcknowledgements)).toEqual(
      moves.map((move) => move.afterAcknowledgements).toSorted((a, b) => a - b),
    )
    for (const move of moves) {
      expect(move.afterAcknowledgements).toBeLessThanOrEqual(acknowledgements)
      expect(move.client).toBeLessThan(move.kind === "cutPublisher" ? OPTIONS.publishers : OPTIONS.subscribers)
    }
  }
})

test("who gets a signal is in turn, which of them first by the seed; others than they get none, and the moves stay the same", () => {
  const both = planRounds({ ...OPTIONS, victims: ["broker", "server"] })
  const signalled = both.flatMap(({ victim }) => victim ?? [])
  expect(signalled.length).toBeGreaterThan(30)
  for (const [index, victim] of signalled.entries()) expect(victim).not.toBe(signalled[index + 1])
  const firsts = Array.from({ length: 20 }, (_, seed) => planRounds({ ...OPTIONS, seed, victims: ["broker", "server"] }))
  expect(new Set(firsts.map((plan) => plan.find(({ victim }) => victim)?.victim))).toEqual(new Set(["broker", "server"]))
  const none = planRounds({ ...OPTIONS, victims: [] })
  expect(none.every(({ victim }) => victim === undefined)).toBe(true)
  expect(none.map(({ moves }) => moves)).toEqual(both.map(({ moves }) => moves))
})

test("random numbers spread over their range", () => {
  const random = new Random(1)
  const seen = new Set(Array.from({ length: 1000 }, () => random.integer(3, 12)))
  expect([...seen].toSorted((a, b) => a - b)).toEqual([3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
})
