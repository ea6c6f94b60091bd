class Node<T> {
  children: Map<string, Node<T>> | undefined = undefined
  value: T | undefined = undefined
}

/** What an entry costs in memory, in bytes. */
export function costOf(path: string): number {
  return 200 + path.length * 2
}

/** Values under Topic Names or Topic Filters, in a tree of their levels: finding some does not look at the others (MQTT 5.0 section 4.7). */
export class TopicTree<T extends object> {
  private readonly root = new Node<T>()

  get(path: string): T | undefined {
    let node: Node<T> | undefined = this.root
    for (const level of path.split("/")) {
      node = node.children?.get(level)
      if (!node) return undefined
    }
    return node.value
  }

  /** Puts a value there; returns the one that was there. */
  set(path: string, value: T): T | undefined {
    let node = this.root
    for (const level of path.split("/")) {
      node.children ??= new Map()
      let child = node.children.get(level)
      if (!child) node.children.set(level, (child = new Node()))
      node = child
    }
    const before = node.value
    node.value = value
    return before
  }

  /** Removes what is there, and the levels that led to nothing else. */
  delete(path: string): void {
    const levels = path.split("/")
    const nodes = [this.root]
    for (const level of levels) {
      const child = nodes.at(-1)?.children?.get(level)
      if (!child) return
      nodes.push(child)
    }
    const leaf = nodes.at(-1)
    if (leaf) leaf.value = undefined
    for (let depth = levels.length; depth > 0; depth--) {
      const node = nodes[depth]
      if (!node || node.value || node.children?.size) return
      nodes[depth - 1]?.children?.delete(levels[depth - 1] ?? "")
    }
  }

  /** What lies under the Topic Filters that match a Topic Name. */
  matching(topic: string, found: (value: T) => void): void {
    const levels = topic.split("/")
    // topics that begin with $ are not matched by a filter that begins with a wildcard [MQTT-4.7.2-1]
    if (!topic.startsWith("$")) return collect(this.root, levels, 0, found)
    const child = this.root.children?.get(levels[0] ?? "")
    if (child) collect(child, levels, 1, found)
  }

  /** What lies under the Topic Names that a Topic Filter matches, one after the other; the tree may change meanwhile. */
  matchedBy(filter: string): Generator<T> {
    return walk(this.root, filter.split("/"), 0)
  }
}

function collect<T>(node: Node<T>, levels: string[], depth: number, found: (value: T) => void): void {
  const all = node.children?.get("#")
  if (all?.value) found(all.value)
  const level = levels[depth]
  if (level === undefined) {
    if (node.value) found(node.value)
    return
  }
  const exact = node.children?.get(level)
  if (exact) collect(exact, levels, depth + 1, found)
  const any = node.children?.get("+")
  if (any) collect(any, levels, depth + 1, found)
}

function* walk<T>(node: Node<T>, levels: string[], depth: number): Generator<T> {
  const level = levels[depth]
  if (level === undefined) {
    if (node.value) yield node.value
  } else if (level === "#") {
    yield* below(node, depth === 0)
  } else if (level !== "+") {
    const child = node.children?.get(level)
    if (child) yield* walk(child, levels, depth + 1)
  } else {
    for (const [name, child] of node.children ?? []) if (depth || !name.startsWith("$")) yield* walk(child, levels, depth + 1)
  }
}

/** A node and all below it; `first`: without topics that begin with $ [MQTT-4.7.2-1]. */
function* below<T>(node: Node<T>, first: boolean): Generator<T> {
  if (node.value) yield node.value
  for (const [name, child] of node.children ?? []) if (!first || !name.startsWith("$")) yield* below(child, false)
}
