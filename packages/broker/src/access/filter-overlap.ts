/** A level that no topic, filter or name has: what it stands for is matched by wildcards alone. */
const ANY_LEVEL = "\0"

/** The Topic Filter that matches what both match, in levels; undefined: nothing (MQTT 5.0 section 4.7). */
export function overlap(a: readonly string[], b: readonly string[]): readonly string[] | undefined {
  if (hidesFrom(a, b) || hidesFrom(b, a)) return undefined
  const both: string[] = []
  for (let n = 0; ; n++) {
    const [one, other] = [a[n], b[n]]
    if (one === "#") return [...both, ...b.slice(n)]
    if (other === "#") return [...both, ...a.slice(n)]
    if (one === undefined || other === undefined) return one === other ? both : undefined
    if (one !== "+" && other !== "+" && one !== other) return undefined
    both.push(one === "+" ? other : one)
  }
}

/**
 * Topic Names that a Topic Filter matches, in levels, up to so many. When none of them is left by filters of fewer levels,
 * then no topic is: a level which nobody names is matched by wildcards alone, and past the last of its levels only by `#`.
 */
export function* examplesOf(filter: readonly string[], levels: number): Generator<readonly string[]> {
  const isOpen = filter.at(-1) === "#"
  const example = (isOpen ? filter.slice(0, -1) : filter).map((level) => (level === "+" ? ANY_LEVEL : level))
  if (example.length > 0 && example.join("/") !== "") yield [...example]
  while (isOpen && example.length < levels) {
    example.push(ANY_LEVEL)
    yield [...example]
  }
}

/** Whether `a` begins with a wildcard, and `b` with the $ that those do not match [MQTT-4.7.2-1]. */
function hidesFrom([a]: readonly string[], [b]: readonly string[]): boolean {
  return (a === "+" || a === "#") && b?.startsWith("$") === true
}
