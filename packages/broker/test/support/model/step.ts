import * as fc from "fast-check"

/** Where the broker dies while a step runs: right before or right after the Nth commit from then on. */
export interface Death {
  when: "before" | "after"
  commit: number
}

/** What happens next. Steps that make no sense where they stand (a publish by a client that is away) do nothing. */
export type Step =
  | { kind: "connect"; client: number; clean: boolean; death: Death | undefined }
  | { kind: "subscribe"; client: number; filter: string; qos: 0 | 1 | 2; death: Death | undefined }
  | { kind: "unsubscribe"; client: number; filter: string; death: Death | undefined }
  | { kind: "publish"; client: number; topic: string; qos: 1 | 2; death: Death | undefined }
  | { kind: "disconnect" | "cut" | "hold" | "release"; client: number }
  | { kind: "kill" }

export const CLIENTS = 3
const FILTERS = ["a", "b", "a/x", "+", "#", "a/+", "a/#"]
const TOPICS = ["a", "b", "a/x"]

const client = fc.nat(CLIENTS - 1)
const death = fc.option(fc.record({ when: fc.constantFrom("before" as const, "after" as const), commit: fc.integer({ min: 1, max: 2 }) }), {
  nil: undefined,
  freq: 9,
})
const filter = fc.constantFrom(...FILTERS)

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant("connect" as const), client, clean: fc.constantFrom(false, false, false, true), death }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant("subscribe" as const), client, filter, qos: fc.constantFrom(0, 1, 2, 1, 2), death }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("unsubscribe" as const), client, filter, death }) },
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant("publish" as const),
      client,
      topic: fc.constantFrom(...TOPICS),
      qos: fc.constantFrom(1 as const, 2 as const),
      death,
    }),
  },
  { weight: 7, arbitrary: fc.record({ kind: fc.constantFrom("disconnect" as const, "cut", "cut", "hold", "hold", "release"), client }) },
  { weight: 1, arbitrary: fc.constant({ kind: "kill" as const }) },
)

/** All clients connect and subscribe to something; then anything may happen. */
const beginning: fc.Arbitrary<Step[]> = fc
  .array(fc.record({ filter, qos: fc.constantFrom(1 as const, 2 as const) }), { minLength: CLIENTS, maxLength: CLIENTS })
  .map((subscriptions) =>
    subscriptions.flatMap(({ filter: wanted, qos }, index): Step[] => [
      { kind: "connect", client: index, clean: false, death: undefined },
      { kind: "subscribe", client: index, filter: wanted, qos, death: undefined },
    ]),
  )

/** A beginning and up to 50 steps. */
export const steps = fc.tuple(beginning, fc.array(step, { maxLength: 50, size: "max" })).map(([first, then]): Step[] => [...first, ...then])

/** One line for a person. */
export function describeStep(item: Step): string {
  if (item.kind === "kill") return "the broker is killed"
  const who = `client ${item.client}`
  const dying = "death" in item && item.death ? `; the broker dies ${item.death.when} commit ${item.death.commit}` : ""
  switch (item.kind) {
    case "connect":
      return `${who} connects${item.clean ? " with Clean Session" : ""}${dying}`
    case "subscribe":
      return `${who} subscribes to ${item.filter} at QoS ${item.qos}${dying}`
    case "unsubscribe":
      return `${who} unsubscribes from ${item.filter}${dying}`
    case "publish":
      return `${who} publishes on ${item.topic} at QoS ${item.qos}${dying}`
    case "disconnect":
      return `${who} disconnects`
    case "cut":
      return `${who} loses its connection`
    case "hold":
      return `${who} stops acknowledging`
    case "release":
      return `${who} acknowledges again`
  }
}
