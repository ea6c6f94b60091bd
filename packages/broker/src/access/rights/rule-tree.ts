import type { Direction } from "./rights.js"

/** A line of an ACL file that allows or refuses something. */
export interface AclRule {
  /** Its number in the file, from 1 on. */
  readonly line: number
  /** As it stands there. */
  readonly text: string
  readonly access: Direction | "readwrite" | "deny"
  /** The levels of its Topic Filter. */
  readonly levels: readonly string[]
  /** Whose it is; a pattern is everybody's, and its levels may name the client: `%u` its user, `%c` its Client Identifier. */
  readonly scope: "anonymous" | "pattern" | { readonly user: string }
}

/** What `%u` and `%c` stand for. A pattern that needs what is undefined does not apply. */
export interface ClientNames {
  readonly user: string | undefined
  readonly clientId: string | undefined
}

const NAMES = /%[cu]/g

class Node {
  children: Map<string, Node> | undefined = undefined
  /** children whose level names the client, by that level as it stands in the file */
  named: Map<string, Node> | undefined = undefined
  readonly rules: AclRule[] = []
}

/**
 * Rules in a tree of their levels: finding those of a topic does not look at the others (MQTT 5.0 section 4.7). One tree
 * serves every client: the levels that name the client are filled in while it is asked.
 */
export class RuleTree {
  /** those that allow to read */
  readonly readable: AclRule[] = []
  /** whether one names the Client Identifier */
  namesClientIds = false
  /** whether there is none */
  empty = true
  /** levels of the rule with `deny` that has the most */
  deepestDeny = 0
  private readonly root = new Node()

  add(rule: AclRule): void {
    const isPattern = rule.scope === "pattern"
    if (allows(rule, "read")) this.readable.push(rule)
    if (isPattern && rule.levels.some((level) => level.includes("%c"))) this.namesClientIds = true
    this.empty = false
    if (rule.access === "deny") this.deepestDeny = Math.max(this.deepestDeny, rule.levels.length)
    let node = this.root
    for (const level of rule.levels) {
      const map =
        isPattern && level.search(NAMES) >= 0 ? (node.named ??= new Map<string, Node>()) : (node.children ??= new Map<string, Node>())
      let child = map.get(level)
      if (!child) map.set(level, (child = new Node()))
      node = child
    }
    node.rules.push(rule)
  }

  /** The rules whose Topic Filters match a Topic Name, in no order. */
  matching(topic: readonly string[], names: ClientNames): AclRule[] {
    const found: AclRule[] = []
    collect(this.root, 0, { topic, names, found })
    return found
  }
}

export function allows({ access }: AclRule, direction: Direction): boolean {
  return access === "readwrite" || access === direction
}

/** The levels of a rule, of a pattern with the client's names in them; undefined: it does not apply to this client. */
export function filledLevels({ scope, levels }: AclRule, names: ClientNames): readonly string[] | undefined {
  if (scope !== "pattern") return levels
  const filled: string[] = []
  for (const level of levels) {
    const some = fill(level, names)
    if (some === undefined) return undefined
    filled.push(...some)
  }
  return filled
}

/** One level with the client's names in it: more than one when a name has slashes. */
function fill(level: string, { user, clientId }: ClientNames): readonly string[] | undefined {
  let complete = true
  const filled = level.replaceAll(NAMES, (name) => {
    const text = name === "%u" ? user : clientId
    if (text === undefined) complete = false
    return text ?? ""
  })
  return complete ? filled.split("/") : undefined
}

interface Search {
  readonly topic: readonly string[]
  readonly names: ClientNames
  readonly found: AclRule[]
}

function collect(node: Node, depth: number, search: Search): void {
  const level = search.topic[depth]
  // topics that begin with $ are not matched by a filter that begins with a wildcard [MQTT-4.7.2-1]
  const wildcards = depth > 0 || level?.startsWith("$") !== true
  const all = wildcards ? node.children?.get("#") : undefined
  if (all) search.found.push(...all.rules)
  if (level === undefined) {
    search.found.push(...node.rules)
    return
  }
  const exact = node.children?.get(level)
  if (exact) collect(exact, depth + 1, search)
  const any = wildcards ? node.children?.get("+") : undefined
  if (any) collect(any, depth + 1, search)
  for (const [text, child] of node.named ?? []) {
    const levels = fill(text, search.names)
    if (levels?.every((one, n) => one === search.topic[depth + n])) collect(child, depth + levels.length, search)
  }
}
