import { compareLevels, hashAt, isAll, isWildcard, NO_MATCH, passFilter, sharedUnits } from "./levels.js"
import type { TopicNode } from "./topic-node.js"

/** `next` where the only child that is asked for has been looked at. */
const DONE = 2 ** 30

/** What stands for a value when the walk rests: it can be gone on with later. */
export const RESTING = Symbol("resting")

/** A node that the walk is in. */
interface Step<T> {
  node: TopicNode<T>
  /** as it was when the walk came to it */
  label: string
  /** the level of the Topic Filter that its children are asked for */
  at: number
  /** where among its children the walk goes on */
  next: number
}

/**
 * Goes through the values under the Topic Names that a Topic Filter matches, in the order of the hashes of their levels,
 * which no change of the tree changes.
 */
export class TopicWalk<T> {
  private steps: Step<T>[] = []

  /** @param restAfter so many nodes are looked at without a value, then the walk rests */
  constructor(
    private readonly root: TopicNode<T>,
    private readonly filter: string,
    private readonly restAfter: number,
  ) {
    this.enter(root, 0)
  }

  /** The next value; undefined: there is none. */
  next(): T | typeof RESTING | undefined {
    let passed = 0
    for (let step = this.steps.at(-1); step; step = this.steps.at(-1)) {
      const child = this.nextChild(step)
      if (!child) {
        this.steps.pop()
        continue
      }
      const at = passFilter(child.label, this.filter, step.at)
      const isMatch = at !== NO_MATCH && (at > this.filter.length || isAll(this.filter, at))
      const value = isMatch ? child.value : undefined
      const rests = !value && ++passed === this.restAfter
      // where it rests it must be in the node that it came to
      if (value || rests || (at !== NO_MATCH && child.size)) this.enter(child, at)
      if (value) return value
      if (rests) return RESTING
    }
    return undefined
  }

  /** Goes on in a tree that has changed since the walk stood still: behind the place where that was, whatever is there now. */
  resume(): void {
    const path = this.steps.flatMap(({ label }, depth) => (depth ? [label] : [])).join("/")
    this.steps = []
    let node = this.root
    for (let at = 0, from = 0; ;) {
      const step = this.enter(node, at)
      if (from > path.length) return
      const hash = hashAt(path, from)
      step.next = node.seek(hash, path, from)
      const child = node.children?.[step.next]
      const shared = child?.hash === hash ? sharedUnits(child.label, path, from) : NO_MATCH
      if (!child || shared === NO_MATCH) return
      from += shared + 1
      if (shared < child.label.length) {
        if (!isBehind(child.label, shared + 1, path, from)) step.next++
        return
      }
      step.next++
      at = passFilter(child.label, this.filter, at)
      node = child
    }
  }

  private enter(node: TopicNode<T>, at: number): Step<T> {
    const step = { node, label: node.label, at, next: 0 }
    this.steps.push(step)
    return step
  }

  private nextChild(step: Step<T>): TopicNode<T> | undefined {
    const { children } = step.node
    if (!children || step.at === NO_MATCH || step.at > this.filter.length || step.next === DONE) return undefined
    if (!isWildcard(this.filter, step.at)) {
      const place = step.node.seek(hashAt(this.filter, step.at), this.filter, step.at)
      const isPassed = place < step.next
      step.next = DONE
      return isPassed ? undefined : children[place]
    }
    while (step.next < children.length) {
      const child = children[step.next++]
      // topics that begin with $ are not matched by a filter that begins with a wildcard [MQTT-4.7.2-1]
      if (child && !(step.node === this.root && child.label.startsWith("$"))) return child
    }
    return undefined
  }
}

/** Whether a label, from a level on, comes behind a path, from a level on that is another one or none. */
function isBehind(label: string, i: number, path: string, from: number): boolean {
  if (from > path.length) return true
  return (hashAt(label, i) - hashAt(path, from) || compareLevels(label, i, path, from)) > 0
}
