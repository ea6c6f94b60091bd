import { splitShare } from "@mqtt-trio/common"
import { examplesOf, overlap } from "./filter-overlap.js"
import { AnswerBudget } from "./remembered.js"
import type { Direction, Identity, Permissions, Rights } from "./rights.js"
import { type AclRule, allows, type ClientNames, filledLevels, RuleTree } from "./rule-tree.js"

/** The most levels that a Topic Name has, whatever `--max-topic-levels` says. */
const MOST_LEVELS = 100

/** An answer, and the line that it comes from; undefined: no line allows it. */
export interface AclDecision {
  readonly allowed: boolean
  readonly rule: AclRule | undefined
}

/** The rules of an ACL file. What they mean stands with {@link readAclFile}. */
export class AclRules implements Rights {
  private readonly anonymous = new RuleTree()
  private readonly users = new Map<string, RuleTree>()
  private readonly patterns = new RuleTree()
  private readonly budget = new AnswerBudget()

  /** @param rules the lines of the file */
  constructor(readonly rules: readonly AclRule[]) {
    for (const rule of rules) this.treeOf(rule.scope).add(rule)
  }

  /** Whether the answer may depend on the Client Identifier. */
  get namesClientIds(): boolean {
    return this.patterns.namesClientIds
  }

  permissions(identity: Identity): Permissions {
    return new ClientPermissions(this.rulesOf(identity), this.budget)
  }

  /**
   * Which line decides about a Topic Name, or about a subscription to a Topic Filter (only to read). Without a Client
   * Identifier, patterns with `%c` do not apply.
   */
  explain(client: ClientNames, direction: Direction, topic: string): AclDecision {
    const rules = this.rulesOf(client)
    return direction === "read" ? rules.subscription(topic) : rules.decide(topic.split("/"), direction)
  }

  /** Whether no pattern applies to the client, because it is named like a Topic Filter. */
  isUnfitForPatterns(client: ClientNames): boolean {
    return !this.patterns.empty && hasWildcard(client)
  }

  private rulesOf(client: ClientNames): ClientRules {
    const user = client.user === "" ? undefined : client.user
    const own = user === undefined ? this.anonymous : this.users.get(user)
    const trees = [...(own ? [own] : []), ...(hasWildcard(client) ? [] : [this.patterns])]
    return new ClientRules(trees, { user: fitting(user), clientId: fitting(client.clientId) })
  }

  private treeOf(scope: AclRule["scope"]): RuleTree {
    if (scope === "anonymous") return this.anonymous
    if (scope === "pattern") return this.patterns
    const tree = this.users.get(scope.user) ?? new RuleTree()
    this.users.set(scope.user, tree)
    return tree
  }
}

/** The rules that apply to one client: those of its user, then the patterns. */
class ClientRules {
  constructor(
    private readonly trees: readonly RuleTree[],
    private readonly names: ClientNames,
  ) {}

  /** @param topic the levels of a Topic Name */
  decide(topic: readonly string[], direction: Direction): AclDecision {
    for (const tree of this.trees) {
      const rules = tree.matching(topic, this.names)
      const deny = first(rules, ({ access }) => access === "deny")
      if (deny) return { allowed: false, rule: deny }
      const allow = first(rules, (rule) => allows(rule, direction))
      if (allow) return { allowed: true, rule: allow }
    }
    return { allowed: false, rule: undefined }
  }

  /** Whether any topic that the filter matches may be read: tried with topics of which one would be allowed if any were. */
  subscription(filter: string): AclDecision {
    const wanted = (splitShare(filter)?.filter ?? filter).split("/")
    if (!wanted.some((level) => level === "+" || level === "#")) return this.decide(wanted, "read")
    const more = Math.max(...this.trees.map(({ deepestDeny }) => deepestDeny), 0) + 1
    let refused: AclDecision = { allowed: false, rule: undefined }
    for (const { readable } of this.trees)
      for (const rule of readable) {
        const levels = filledLevels(rule, this.names)
        const both = levels && overlap(wanted, levels)
        if (both === undefined) continue
        for (const topic of examplesOf(both, more)) {
          const decision = this.decide(topic, "read")
          if (decision.allowed) return decision
          refused = decision
        }
      }
    return refused
  }
}

class ClientPermissions implements Permissions {
  // made when they are needed: most Sessions of many are away
  private reads: Map<string, boolean> | undefined = undefined
  private writes: Map<string, boolean> | undefined = undefined

  constructor(
    private readonly rules: ClientRules,
    private readonly budget: AnswerBudget,
  ) {}

  mayRead(topic: string): boolean {
    this.reads ??= new Map()
    return this.reads.get(topic) ?? this.ask(topic, "read", this.reads)
  }

  mayWrite(topic: string): boolean {
    this.writes ??= new Map()
    return this.writes.get(topic) ?? this.ask(topic, "write", this.writes)
  }

  maySubscribe(filter: string): boolean {
    return this.rules.subscription(filter).allowed
  }

  private ask(topic: string, direction: Direction, answers: Map<string, boolean>): boolean {
    const { allowed } = this.rules.decide(topic.split("/"), direction)
    this.budget.remember(answers, topic, allowed)
    return allowed
  }
}

/** Of the rules that are so, the one that stands first in the file. */
function first(rules: readonly AclRule[], isSo: (rule: AclRule) => boolean): AclRule | undefined {
  let found: AclRule | undefined
  for (const rule of rules) if (isSo(rule) && (found === undefined || rule.line < found.line)) found = rule
  return found
}

/** Such a name in a pattern would match topics of others. */
function hasWildcard({ user, clientId }: ClientNames): boolean {
  return /[+#]/.test(`${user ?? ""}${clientId ?? ""}`)
}

/** A name with more levels than any topic has fits into none. */
function fitting(name: string | undefined): string | undefined {
  return name === undefined || name.split("/", MOST_LEVELS + 1).length > MOST_LEVELS ? undefined : name
}
