/** What the properties are about, by the names that they use: where it lies is known here alone. */
import { Turns } from "../../src/connection/turns.js"
import { PublishReader } from "../../src/connection/publish-reader.js"
import { PacketReader } from "../../src/connection/packet-reader.js"
import { BrokerTime } from "../../src/delivery/broker-time.js"
import { CleanSession } from "../../src/delivery/sessions/clean-session.js"
import { GroupCommit } from "../../src/delivery/logs/group-commit.js"
import { Log } from "../../src/delivery/logs/log.js"
import { Retained } from "../../src/delivery/retained/retained.js"
import { Router } from "../../src/delivery/routing/router.js"
import { RESTING } from "../../src/delivery/routing/topic-walk.js"
import { ChunkCache } from "../../src/delivery/logs/chunk-cache.js"
import { StoreReads } from "../../src/delivery/logs/store-reads.js"
import { Housekeeping } from "../../src/delivery/logs/housekeeping.js"
import { Drops } from "../../src/delivery/sessions/drops.js"
import { Phase, Window } from "../../src/delivery/sessions/window.js"
import { MemoryStore } from "../../src/stores/memory.js"
import type { Frames } from "../../src/wire/frames.js"
import type { QoS } from "../../src/wire/packet-types.js"
import { framesOf, topicOf } from "../../src/wire/publish.js"
import { connect, publish } from "../support/wire.js"
import { accountant, place } from "../support/place.js"

export { Pace, type Rate } from "../../src/connection/pace.js"
export { Phase, RESTING, Window }
export { countFresh } from "../../src/delivery/sessions/waiting.js"
export { Reader } from "../../src/delivery/logs/reader.js"
export { filtersOverlap, hashAt } from "../../src/delivery/routing/levels.js"

export { TopicTree } from "../../src/delivery/routing/topic-tree.js"
export { parseAcl } from "../../src/access/rights/acl-file.js"
export { AclRules } from "../../src/access/rights/acl-rules.js"
export { idKey, logKey, readUint64, slotKey } from "../../src/stores/keys.js"
export { ackFailed, ackWithReason, readAck, writeAck } from "../../src/wire/acknowledgements.js"
export { Frames } from "../../src/wire/frames.js"
export type { QoS } from "../../src/wire/packet-types.js"
export { checkProperties, type PropertyOwner } from "../../src/wire/properties.js"
export { convert, encodeFor, expirySecondsOf, framesOf, payloadOf, topicOf } from "../../src/wire/publish.js"
export { PacketError, Reason } from "../../src/wire/reason-codes.js"
export { validTopicName, validUtf8 } from "../../src/wire/utf8.js"
export { readVarint, varintLength, writeVarint } from "../../src/wire/varint.js"

const LEVELS = 100
const LIMITS = {
  packetBytes: 1 << 28,
  firstPacketBytes: 65_536,
  connectionsPerAddress: Infinity,
  connectTimeoutMs: 1000,
  inflight: 100,
  connections: 1,
  sessions: 1,
  subscriptions: 1,
  topicLevels: LEVELS,
  rate: undefined,
}
const EVENTS = { failing: (): void => {}, recovered: (): void => {} }

const commitsTo = (store: MemoryStore): GroupCommit => new GroupCommit(store, { position: 1, id: 1 }, EVENTS)

/** The tree that finds the receivers of a topic; receivers are known by their names. */
export class Receivers {
  private readonly router = new Router(LEVELS)
  private readonly sessions = new Map<string, CleanSession>()

  subscribe(name: string, filter: string, qos: QoS): void {
    this.router.subscribe(this.session(name), filter, { qos, noLocal: false, retainAsPublished: false, identifier: 0 })
  }

  unsubscribe(name: string, filter: string): void {
    this.router.unsubscribe(this.session(name), filter)
  }

  /** The receivers of a topic, found by its text. */
  byText(topic: string): Found {
    return found(this.router.match(topic))
  }

  /** The same by its bytes, which lie somewhere in a buffer. */
  byBytes(topic: string): Found {
    const before = Buffer.from("#+\0")
    const bytes = Buffer.concat([before, Buffer.from(topic), before])
    return found(this.router.lookup(bytes, before.length, bytes.length - before.length))
  }

  private session(name: string): CleanSession {
    const session =
      this.sessions.get(name) ??
      new CleanSession(name, undefined, { drops: new Drops(), time: new BrokerTime(), matching: () => [] }, place)
    this.sessions.set(name, session)
    return session
  }
}

/** Whom a topic goes to: name and granted QoS of each receiver. */
type Found = [string, QoS][]

function found({ to }: ReturnType<Router["match"]>): Found {
  const names = [...to.clean, ...to.atOnce].map(({ session, qos }): [string, QoS] => [session.clientId, qos])
  return names.toSorted(([a], [b]) => (a < b ? -1 : 1))
}

/** Retained messages, in front of a store in memory. */
export class RetainedTopics {
  private readonly retained = new Retained(commitsTo(new MemoryStore()), { count: 1000, bytes: 1e6 })

  /** Publishes with RETAIN 1; an empty payload removes. */
  publish(topic: string, payload: string): void {
    this.retained.update(framesOf(publish(4, { topic, payload, retain: true }), false), place)
  }

  /** Topics of the messages that a filter finds. */
  match(filter: string): string[] {
    return Array.from(this.retained.match(filter))
      .filter((message) => message !== RESTING)
      .map(({ frames }) => topicOf(frames, 0))
      .toSorted()
  }

  get count(): number {
    return this.retained.count
  }
}

/** The log of a Topic Filter, in front of a store in memory. */
export class StoredLog {
  readonly store = new MemoryStore()
  private readonly commits = commitsTo(this.store)
  private readonly log = new Log(
    1,
    {
      commits: this.commits,
      store: this.store,
      cache: new ChunkCache(accountant),
      housekeeping: new Housekeeping(() => {}),
      reads: new StoreReads(),
      orphaned: () => {},
    },
    undefined,
  )

  /** Appends a run, positions that others took lie before it; returns its first position. */
  append(run: Frames, others: number): number {
    this.commits.take(others)
    const position = this.commits.take(run.n)
    this.log.append(run, position)
    return position
  }

  /** Resolves when what was appended is durable. */
  flush(): Promise<void> {
    return this.commits.flush()
  }

  /** A log as the next start of the broker finds it: nothing is in memory. */
  reopened(): Log {
    const commits = new GroupCommit(this.store, { position: this.commits.next, id: 2 }, EVENTS)
    const { last, total, totalBytes, totalExpiring } = this.log
    return new Log(
      1,
      {
        commits,
        store: this.store,
        cache: new ChunkCache(accountant),
        housekeeping: new Housekeeping(() => {}),
        reads: new StoreReads(),
        orphaned: () => {},
      },
      { id: 1, last, messages: total, bytes: totalBytes, expiring: totalExpiring },
    )
  }

  get inMemory(): Log {
    return this.log
  }
}

function unexpected(): never {
  throw new Error("a packet that is no PUBLISH")
}

/** The PUBLISH packets of a stream that arrives in pieces, as the runs in which they are accepted. */
export function runsOf(chunks: readonly Buffer[], v5: boolean): Frames[] {
  const runs: Frames[] = []
  const taker = {
    publish: (run: Frames): unknown => runs.push(run.slice(0, run.n)),
    connect: (): void => {},
    acknowledged: (): void => {},
    released: unexpected,
    subscribe: unexpected,
    unsubscribe: unexpected,
    ping: unexpected,
    hold: unexpected,
    yield: unexpected,
    disconnect: unexpected,
  }
  const reader = new PacketReader(taker, LIMITS, new PublishReader(new Router(LEVELS), new Turns()), place.tally(false))
  reader.read(connect(v5 ? 5 : 4))
  reader.widen()
  reader.resume()
  for (const chunk of chunks) reader.read(chunk)
  return runs
}
