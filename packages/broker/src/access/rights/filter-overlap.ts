/** A level that no topic, filter or name has: what it stands for is matched by wildcards alone. */
const ANY_LEVEL = "\0"

/** The Topic Filter that matches what both match, in levels; undefined: nothing (MQTT 5.0 section 4.7). */
export function overlap(a: readonly string[], b: readonly string[]): readonly string[] | undefined {
  if (hidesFrom(a, b) || hidesFrom(b, a)) return undefined
  const both: string[] = []
  for (let n = 0; ; n++) {
    const one = a[n]
    const other = b[n]
    if (one === "#") return [...both, ...b.slice(n)]
    if (other === "#") return [...both, ...a.slice(n)]
    if (one === undefined || other === undefined) return one === other ? both : undefined
    if (one !== "+" && other !== "+" && one !== other) return undefined
    both.push(one === "+" ? other : one)
  }
}

/**
 * Topic Names that a Topic Filter matches, in levels, its # as none and up to `more` of them. When other filters, of fewer
 * levels than `more`, match each of these, they match every topic: a level which nobody names is matched by wildcards alone,
 * and so many of them only by #.
 */
export function* examplesOf(filter: readonly string[], more: number): Generator<readonly string[]> {
  const isOpen = filter.at(-1) === "#"
  const example = (isOpen ? filter.slice(0, -1) : filter).map((level) => (level === "+" ? ANY_LEVEL : level))
  // /# would match a topic that is none: an empty one
  if (example.join("/") !== "") yield [...example]
  for (let n = isOpen ? 0 : more; n < more; n++) {
    example.push(ANY_LEVEL)
    yield [...example]
  }
}

/** Whether `a` begins with a wildcard, and `b` with the $ that those do not match [MQTT-4.7.2-1]. */
function hidesFrom(a: readonly string[], b: readonly string[]): boolean {
  return (a[0] === "+" || a[0] === "#") && b[0]?.startsWith("$") === true
}
