import { ALL_LEVELS, ANY_LEVEL, hashAt, liesAt, NO_MATCH, passTopic, sharedUnits } from "./levels.js"
import { isAscii, TopicNode } from "./topic-node.js"
import { type RESTING, TopicWalk } from "./topic-walk.js"

/** About a tenth of a millisecond. */
const REST_AFTER = 1000

/** Shorter pieces of a text are copied by V8; longer ones refer to the text, and keep it in memory. */
const SHORTEST_REFERENCE = 13

/**
 * Values under Topic Names or Topic Filters, in a tree of their levels: finding some does not look at the others (MQTT 5.0
 * section 4.7). Levels of which nothing branches off are one node, whatever was there before: a value costs its node, and
 * at most one more, and the text that it does not share with others.
 */
export class TopicTree<T extends object> {
  private readonly root = new TopicNode<T>("")
  /** of structure: nodes that came, went, or have another label */
  private changes = 0
  /** how many there are */
  nodes = 0
  /** bytes of memory of all of them, without the values: an estimate (`bytes` of TopicNode), kept as they change */
  bytes = 0

  get(path: string): T | undefined {
    let node = this.root
    for (let at = 0; at <= path.length;) {
      const child = node.candidate(hashAt(path, at), path, at)
      if (!child || !liesAt(child.label, path, at)) return undefined
      at += child.label.length + 1
      node = child
    }
    return node.value
  }

  /** Puts a value there; returns the one that was there. */
  set(path: string, value: T): T | undefined {
    let node = this.root
    for (let at = 0; at <= path.length;) {
      const hash = hashAt(path, at)
      const place = node.seek(hash, path, at)
      const next = node.children?.[place]
      const shared = next?.hash === hash ? sharedUnits(next.label, path, at) : NO_MATCH
      if (!next || shared === NO_MATCH) {
        const leaf = new TopicNode<T>(textOf(path, at, path.length), hash)
        leaf.value = value
        this.add(node, place, leaf)
        return undefined
      }
      if (shared < next.label.length) this.split(next, shared)
      at += shared + 1
      node = next
    }
    const before = node.value
    node.value = value
    return before
  }

  /** Removes what is there, and what led to nothing else. */
  delete(path: string): void {
    let parent = this.root
    let node = parent
    let place = 0
    for (let at = 0; at <= path.length;) {
      place = node.seek(hashAt(path, at), path, at)
      const child = node.children?.[place]
      if (!child || !liesAt(child.label, path, at)) return
      at += child.label.length + 1
      parent = node
      node = child
    }
    node.value = undefined
    if (!node.size) {
      this.cut(parent, place, node)
      node = parent
    }
    if (node !== this.root && !node.value && node.only) this.join(node, node.only)
  }

  /** What lies under the Topic Filters that match a Topic Name. */
  matching(topic: string, found: (value: T) => void): void {
    // topics that begin with $ are not matched by a filter that begins with a wildcard [MQTT-4.7.2-1]
    if (!topic.startsWith("$")) return collect(this.root, topic, 0, found)
    const child = this.root.candidate(hashAt(topic, 0), topic, 0)
    if (child) collectFrom(child, topic, 0, found)
  }

  /**
   * What lies under the Topic Names that a Topic Filter matches, one after the other. The tree may change meanwhile: what
   * comes or goes may be among them or not, the rest is, and each once. RESTING comes between
   * when `restAfter` nodes were looked at for none.
   */
  *matchedBy(filter: string, restAfter = REST_AFTER): Generator<T | typeof RESTING> {
    const walk = new TopicWalk(this.root, filter, restAfter)
    for (let { changes } = this; ;) {
      if (changes !== this.changes) walk.resume()
      changes = this.changes
      const value = walk.next()
      if (!value) return
      yield value
    }
  }

  private add(parent: TopicNode<T>, place: number, node: TopicNode<T>): void {
    this.bytes += node.bytes - parent.listBytes
    parent.insert(place, node)
    this.count(parent.listBytes, 1)
  }

  private cut(parent: TopicNode<T>, place: number, node: TopicNode<T>): void {
    this.bytes -= node.bytes + parent.listBytes
    parent.remove(place)
    this.count(parent.listBytes, -1)
  }

  /** Makes two nodes of one: the first has so many units of the label. */
  private split(node: TopicNode<T>, units: number): void {
    const { label, bytes } = node
    const rest = new TopicNode<T>(textOf(label, units + 1, label.length))
    rest.takeEnd(node)
    node.label = textOf(label, 0, units)
    node.takeEnd(new TopicNode(""))
    node.insert(0, rest)
    this.count(node.bytes + rest.bytes - bytes, 1)
  }

  /** Makes one node of two. */
  private join(node: TopicNode<T>, rest: TopicNode<T>): void {
    const bytes = node.bytes + rest.bytes
    // a text of its own: what + makes refers to both
    node.label = [node.label, rest.label].join("/")
    node.takeEnd(rest)
    this.count(node.bytes - bytes, -1)
  }

  private count(bytes: number, nodes: number): void {
    this.bytes += bytes
    this.nodes += nodes
    this.changes++
  }
}

/** A piece of a text as a text of its own, which does not keep the rest in memory. */
function textOf(text: string, from: number, end: number): string {
  const piece = text.slice(from, end)
  if (piece.length < SHORTEST_REFERENCE || piece.length === text.length) return piece
  // joined it has units of the size that the text has, decoded of the smallest that it can: slower
  return isAscii(text) ? [piece.slice(0, 1), piece.slice(1)].join("") : Buffer.from(piece).toString()
}

/** Finds what matches below a node, whose children begin with the level of the topic at `from`. */
function collect<T>(node: TopicNode<T>, topic: string, from: number, found: (value: T) => void): void {
  const { children } = node
  if (!children) return
  const any = children[0]?.hash === ANY_LEVEL ? children[0] : undefined
  const all = children[any ? 1 : 0]
  if (all?.hash === ALL_LEVELS && all.value) found(all.value)
  if (from > topic.length) return
  const exact = node.candidate(hashAt(topic, from), topic, from)
  if (exact) collectFrom(exact, topic, from, found)
  if (any) collectFrom(any, topic, from, found)
}

/** Finds what matches at the end of a node and below it. */
function collectFrom<T>(node: TopicNode<T>, topic: string, from: number, found: (value: T) => void): void {
  const at = passTopic(node.label, topic, from)
  if (at === NO_MATCH) return
  if (at > topic.length && node.value) found(node.value)
  collect(node, topic, at, found)
}
