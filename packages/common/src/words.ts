/** The most items of a list that a message names. */
const NAMED = 3

/** The first items of a list, and how many more there are: `a, b, c and 297 more`. */
export function someOf(items: readonly string[]): string {
  const rest = items.length - NAMED
  return items.slice(0, NAMED).join(", ") + (rest > 0 ? ` and ${rest} more` : "")
}

/** A number with its noun: `1 message`, `2 messages`. */
export function counted(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`
}
