import { usageError } from "./errors.js"
import { quoted } from "./exact-text.js"
import { textProblem } from "./text.js"

/** What is wrong with a topic name to publish to, or undefined (MQTT 5.0 section 4.7.1 and 4.7.3). */
export function topicNameProblem(topic: string): string | undefined {
  const problem = stringProblem(topic)
  if (problem !== undefined) return problem
  if (/[+#]/.test(topic)) return "wildcards (+ and #) are for subscribing only"
  return undefined
}

/** What is wrong with a topic filter, `$share/GROUP/FILTER` included, or undefined (MQTT 5.0 section 4.7.1 and 4.8.2). */
export function topicFilterProblem(filter: string): string | undefined {
  const problem = stringProblem(filter)
  if (problem !== undefined) return problem
  if (filter !== "$share" && !filter.startsWith("$share/")) return wildcardProblem(filter)
  const shared = splitShare(filter)
  if (shared === undefined) return "a shared subscription reads $share/GROUP/FILTER"
  if (/[+#]/.test(shared.group)) return "the group of a shared subscription has no wildcards"
  return wildcardProblem(shared.filter)
}

/** The group and the inner filter of `$share/GROUP/FILTER`; undefined when either is missing or it is no shared subscription. */
export function splitShare(filter: string): { group: string; filter: string } | undefined {
  if (!filter.startsWith("$share/")) return undefined
  const slash = filter.indexOf("/", 7)
  if (slash < 8 || slash === filter.length - 1) return undefined
  return { group: filter.slice(7, slash), filter: filter.slice(slash + 1) }
}

/** True when `topic` matches `filter` (MQTT 5.0 section 4.7.1 to 4.7.2). Both must be valid; a shared filter counts by its inner one. */
export function topicMatches(filter: string, topic: string): boolean {
  const inner = splitShare(filter)?.filter ?? filter
  if (topic.startsWith("$") && (inner.startsWith("+") || inner.startsWith("#"))) return false
  const wanted = inner.split("/")
  const levels = topic.split("/")
  for (const [index, level] of wanted.entries()) {
    if (level === "#") return true
    const actual = levels[index]
    if (actual === undefined || (level !== "+" && level !== actual)) return false
  }
  return wanted.length === levels.length
}

/** A topic name from the command line. */
export function parseTopicName(text: string): string {
  return checked(text, topicNameProblem(text), "topic")
}

/** A topic filter from the command line. */
export function parseTopicFilter(text: string): string {
  return checked(text, topicFilterProblem(text), "topic filter")
}

function checked(text: string, problem: string | undefined, what: string): string {
  if (problem !== undefined) throw usageError(`${what} ${quoted(text)} is not valid: ${problem}`)
  return text
}

function stringProblem(text: string): string | undefined {
  return text === "" ? "it is empty" : textProblem(text)
}

function wildcardProblem(filter: string): string | undefined {
  const levels = filter.split("/")
  for (const [index, level] of levels.entries()) {
    if (level.includes("#") && (level !== "#" || index !== levels.length - 1)) return "# must be the whole last level"
    if (level.includes("+") && level !== "+") return "+ must be a whole level"
  }
  return undefined
}
