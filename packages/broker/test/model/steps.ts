import { array, constant, constantFrom, integer, oneof, option, record, tuple, type Arbitrary } from "fast-check"
import type { Death, DeathPoint, End } from "../support/mortal-store.js"

export type QoS = 0 | 1 | 2
export type ClientName = "A" | "B" | "C"

export interface WillOptions {
  topic: string
  qos: QoS
  retain: boolean
}

/** One thing that a client does, or that happens to the broker. */
export type Action =
  | { do: "connect"; client: ClientName; clean: boolean; lasting: boolean; will: WillOptions | null }
  | { do: "cut"; client: ClientName }
  | { do: "disconnect"; client: ClientName }
  | { do: "subscribe"; client: ClientName; filter: string; qos: QoS }
  | { do: "unsubscribe"; client: ClientName; filter: string }
  | { do: "publish"; client: ClientName; topic: string; qos: QoS; retain: boolean; count: number }
  /** removes the retained message */
  | { do: "clear"; client: ClientName; topic: string }
  /** publishes at QoS 2 as far as PUBREC */
  | { do: "begin"; client: ClientName; topic: string }
  /** sends what was begun again, with DUP */
  | { do: "resend"; client: ClientName }
  /** PUBREL for what was begun */
  | { do: "release"; client: ClientName }
  | { do: "acknowledge"; client: ClientName; which: "all" | "first" | "last" }
  /** PUBREC for all that came at QoS 2, PUBCOMP for nothing */
  | { do: "receive"; client: ClientName }
  /** SIGKILL, and the broker starts again */
  | { do: "crash" }

/** `death`: counted from the step's beginning; `end`: what is left of the store when the broker dies in this step. */
export type Step = Action & { death: Death | null; end: End }

const TOPICS = ["a", "a/b", "b"]
const FILTERS = ["a", "a/b", "b", "+", "a/+", "#", "a/#"]

const client = constantFrom<ClientName>("A", "B", "C")
const topic = constantFrom(...TOPICS)
const filter = constantFrom(...FILTERS)
const qos = constantFrom<QoS>(0, 1, 1, 2, 2)
const rarely = integer({ min: 0, max: 3 }).map((n) => n === 3)
const will = option(record({ topic, qos, retain: rarely }), { freq: 2 })

/** What one client does to its acknowledgements. */
const which = constantFrom("all" as const, "first" as const, "last" as const)

const action: Arbitrary<Action> = oneof(
  { weight: 6, arbitrary: record({ do: constant("connect" as const), client, clean: rarely, lasting: rarely.map((no) => !no), will }) },
  { weight: 3, arbitrary: record({ do: constant("cut" as const), client }) },
  { weight: 1, arbitrary: record({ do: constant("disconnect" as const), client }) },
  { weight: 8, arbitrary: record({ do: constant("subscribe" as const), client, filter, qos }) },
  { weight: 2, arbitrary: record({ do: constant("unsubscribe" as const), client, filter }) },
  {
    weight: 14,
    arbitrary: record({ do: constant("publish" as const), client, topic, qos, retain: rarely, count: integer({ min: 1, max: 5 }) }),
  },
  { weight: 1, arbitrary: record({ do: constant("clear" as const), client, topic }) },
  { weight: 2, arbitrary: record({ do: constant("begin" as const), client, topic }) },
  { weight: 1, arbitrary: record({ do: constant("resend" as const), client }) },
  { weight: 1, arbitrary: record({ do: constant("release" as const), client }) },
  { weight: 5, arbitrary: record({ do: constant("receive" as const), client }) },
  { weight: 6, arbitrary: record({ do: constant("acknowledge" as const), client, which }) },
  { weight: 3, arbitrary: constant({ do: "crash" as const }) },
)

const point: Arbitrary<DeathPoint> = oneof(
  { weight: 3, arbitrary: constantFrom("before" as const, "after" as const) },
  { weight: 1, arbitrary: constantFrom("torn" as const, "switch-before" as const, "switch-after" as const) },
  { weight: 2, arbitrary: constantFrom("fold-before" as const, "fold-after" as const) },
)

const death: Arbitrary<Death | null> = oneof(
  { weight: 2, arbitrary: constant(null) },
  { weight: 1, arbitrary: record({ at: point, nth: constantFrom(1, 1, 1, 2, 3) }) },
)

/** Lists of steps; a failure shrinks to the shortest that still fails. */
export const steps = array(
  tuple(action, death, constantFrom<End>("power", "process")).map(([what, dies, end]): Step => ({ ...what, death: dies, end })),
  { minLength: 5, maxLength: 60, size: "max" },
)

/** A step as a reader wants it: `B publishes "a/b" QoS 1 retained, 3 messages; the broker dies: before 1`. */
export function describeStep(step: Step): string {
  const { death: dies, end } = step
  const power = end === "power" && (dies || step.do === "crash") ? ", power cut" : ""
  return `${describeAction(step)}${dies ? `; the broker dies: ${dies.at} ${dies.nth}` : ""}${power}`
}

function describeAction(one: Action): string {
  switch (one.do) {
    case "connect":
      return `${one.client} connects${one.clean ? ", Clean Start" : ""}${one.lasting ? ", to last" : ""}${one.will ? `, will "${one.will.topic}" QoS ${one.will.qos}${one.will.retain ? " retained" : ""}` : ""}`
    case "subscribe":
      return `${one.client} subscribes "${one.filter}" QoS ${one.qos}`
    case "unsubscribe":
      return `${one.client} unsubscribes "${one.filter}"`
    case "publish":
      return `${one.client} publishes "${one.topic}" QoS ${one.qos}${one.retain ? " retained" : ""}, ${one.count} messages`
    case "clear":
      return `${one.client} removes the retained message of "${one.topic}"`
    case "begin":
      return `${one.client} begins to publish "${one.topic}" QoS 2`
    case "acknowledge":
      return `${one.client} acknowledges ${one.which}`
    case "crash":
      return "kill -9, restart"
    case "cut":
    case "disconnect":
    case "resend":
    case "release":
    case "receive":
      return `${one.client}: ${one.do}`
  }
}
