import { array, boolean, constantFrom, nat, oneof, record } from "fast-check"

/** What happens to a write on its way. */
const FATES = ["fine", "fine", "fine", "lost", "unanswered", "late"] as const
export type Fate = (typeof FATES)[number]

const STEPS = [
  "commit",
  "fold",
  "sleep",
  "take over",
  "sleep at take over",
  "sleep at hand over",
  "late ones come at take over",
  "hand over",
  "the owner wakes",
  "wake",
  "late ones come",
] as const
/** A collection whose writes meet a fate, or any. */
const WHERE = ["any", "any", "broker", "sessions", "holds", "retained", "wills", "logs"] as const
/** `nth`: which of the writes that come meets its fate, or so many steps later it sleeps */
const step = record({
  kind: constantFrom(...STEPS),
  fate: constantFrom(...FATES),
  where: constantFrom(...WHERE),
  nth: nat({ max: 12 }),
})
/** What is done one behind the other more often than by chance. */
const PHRASES: (typeof STEPS)[number][][] = [
  ["commit", "commit", "fold"],
  ["commit", "sleep", "fold", "take over", "commit", "fold"],
  ["sleep", "commit", "take over", "commit"],
  ["commit", "fold", "wake", "take over"],
  ["late ones come", "take over"],
  ["commit", "sleep at take over", "take over", "commit"],
  ["fold", "wake", "hand over"],
  ["commit", "wake", "sleep at hand over", "take over", "commit"],
]
const ENDS: (typeof STEPS)[number][][] = [
  ["late ones come", "hand over"],
  ["late ones come", "take over"],
  ["late ones come at take over"],
  ["sleep at take over", "late ones come", "the owner wakes", "fold", "wake"],
]
/** A write of a fold comes late, after the next folds, before and after another owner. */
const late = record({
  where: constantFrom(...WHERE),
  nth: nat({ max: 2 }),
  next: constantFrom("fold" as const, "take over" as const),
  end: constantFrom(...ENDS),
  at: nat({ max: 12 }),
  inThat: boolean(),
}).map(({ where, nth, next, end, at, inThat }) => [
  fine("commit"),
  { kind: "fold" as const, fate: "late" as const, where, nth },
  ...([next, "commit", "fold", "commit", "commit", "fold", "commit"] as const).map(fine),
  ...end.map((kind): Step => ({ ...fine(kind), where: inThat ? where : "any", nth: at })),
])
/** What is tried first: each shows what one safeguard is for. */
export const EXAMPLES: Step[][] = [
  // a row is changed only where no later owner wrote it; the fourth commit changes no Session
  [
    ...(["commit", "commit", "commit", "fold", "commit", "sleep", "fold", "take over"] as const).map(fine),
    ...(["commit", "fold", "wake", "take over"] as const).map(fine),
  ],
  // what is folded only rises
  lateWrite("broker", 1, "late ones come at take over"),
  // what came late does not count, also where nobody claimed rows since
  lateWrite("holds", 0, "late ones come", "hand over"),
  // nor when it comes in the middle of a claim
  [...lateWrite("holds", 0), { ...fine("late ones come at take over"), where: "holds", nth: 1 }],
]

/** The first fold's write comes late, when others have changed what it changes. */
function lateWrite(where: Step["where"], nth: number, ...end: Step["kind"][]): Step[] {
  const kinds = ["fold", "commit", "fold", "commit", "commit", "fold", "commit", ...end] as const
  return [fine("commit"), { kind: "fold", fate: "late", where, nth }, ...kinds.map(fine)]
}

export function fine(kind: Step["kind"]): Step {
  return { kind, fate: "fine", where: "any", nth: 0 }
}
const phrase = record({ kinds: constantFrom(...PHRASES), nth: nat({ max: 12 }) }).map(({ kinds, nth }) =>
  kinds.map((kind): Step => ({ ...fine(kind), nth })),
)
export const history = array(
  oneof(
    step.map((one) => [one]),
    phrase,
    late,
  ),
  { maxLength: 12 },
).map((parts) => parts.flat())
export type Step = { kind: (typeof STEPS)[number]; fate: Fate; where: (typeof WHERE)[number]; nth: number }
