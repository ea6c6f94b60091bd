import { setTimeout as after } from "node:timers/promises"
import { AdminServer } from "../admin/server.js"
import { answer } from "../admin/answer.js"
import { Accountant } from "../accounting/accountant.js"
import { Access, type AccessOptions } from "../access/access.js"
import { Clients } from "../connection/clients.js"
import type { Context } from "../connection/context.js"
import { Clock } from "../connection/keep-alive.js"
import type { Limits } from "../connection/limits.js"
import { PublishReader } from "../connection/publish-reader.js"
import { Relief } from "../connection/relief.js"
import { connectForEngine } from "../connection/control-packets.js"
import { Turns } from "../connection/turns.js"
import { type Delivery, type DeliveryEvents, openDelivery } from "../delivery/delivery.js"
import type { CommitEvents } from "../delivery/logs/group-commit.js"
import { messageOf, type Target } from "@mqtt-trio/common"
import type { RetainedLimits } from "../delivery/retained/retained.js"
import { Engine } from "../engine/aedes.js"
import { BrokerError } from "../errors.js"
import { prepareFolder } from "../stores/folder.js"
import { openStore, type StoreOptions } from "../stores/open-store.js"
import type { Store } from "../stores/store.js"
import type { StoreLocation } from "../stores/store-url.js"
import { Reason } from "../wire/reason-codes.js"
import { collectWhenQuiet } from "./collecting.js"
import { connectionLog } from "./connection-log.js"
import { Arrivals } from "./arrivals.js"
import type { EventLog } from "./event-log.js"
import { watchFiles } from "./watched-files.js"
import { type ListenOptions, Listeners } from "./listeners/listeners.js"

export interface BrokerOptions {
  listen: ListenOptions
  access: AccessOptions
  store: StoreLocation
  /** most bytes that the store of a folder may take; undefined: what the disk has */
  maxStore?: number | undefined
  /** of a store that several brokers can reach: see MongoOptions.leaseMs */
  leaseMs: number
  /** ends the waiting for another broker that owns the store */
  signal?: AbortSignal | undefined
  limits: Limits
  retained: RetainedLimits
  /** bytes of memory that the broker may take */
  maxMemory: number
  /** most bytes that wait for one persistent Session */
  queueBytes: number
}

/** How long each step may take when the broker stops, and all that come before the store is closed, in ms. */
const STEP_MS = 3000
const STEPS_MS = 5000
/** When the store must be closed, after the wish to stop, in ms. */
const CLOSED_MS = 7000
const SWEEP_MS = 1000

/**
 * The broker, put together in the order in which its parts need each other: the folder's lock, store, delivery, aedes,
 * then the doors.
 */
export class Broker {
  private readonly unwatch: () => void

  private constructor(
    private readonly parts: {
      admin: AdminServer | undefined
      store: Store
      ended: AbortSignal
      access: Access
      delivery: Delivery
      context: Context
      arrivals: Arrivals
      listeners: Listeners
      timers: NodeJS.Timeout[]
    },
  ) {
    const { passwordFile, aclFile } = parts.access.files
    this.unwatch = watchFiles(
      [passwordFile, aclFile].filter((file) => file !== undefined),
      () => this.reloadAccess("changed"),
    )
  }

  /** Resolves when clients can connect. Throws a BrokerError, and then nothing is left behind. */
  static async start(options: BrokerOptions, log: EventLog): Promise<Broker> {
    const undo: (() => Promise<void> | void)[] = []
    try {
      const access = new Access(options.access, log)
      const place = placeOf(options.store)
      const folder = place.kind === "file" ? place.folder : undefined
      const admin = place.kind === "memory" ? undefined : await AdminServer.open(folder)
      undo.push(async () => admin?.close())
      const end = new AbortController()
      const ends = (error: BrokerError): void => end.abort(error)
      const store = await openStore(place, {
        ...storeNews(log),
        admin: admin?.folder,
        leaseMs: options.leaseMs,
        signal: options.signal,
        superseded: ends,
        stuck: ends,
        maxStore: options.maxStore,
      })
      undo.push(() => store.close())
      const says = connectionLog(log)
      const events: DeliveryEvents = {
        ...storeEvents(log),
        discarded: (one) => says.discarded(one),
        forbiddenWill: (clientId, topic) => says.forbiddenWill(clientId, topic),
      }
      const accountant = new Accountant(options.maxMemory)
      const { retained, limits } = options
      const delivery = await openDelivery(store, accountant, { retained, topicLevels: limits.topicLevels }, events)
      undo.push(() => delivery.wills.stop())
      sayTrouble(store, delivery, log)
      delivery.govern(access.rights, (user) => access.isUser(user))
      const { owned } = delivery.sessions
      if (owned > 0 && !access.namesUsers)
        log.warn(`there are no users now: whoever connects may take the sessions of those there were, ${owned} of them`)
      const engine = await Engine.start(connectForEngine, (error) => log.limited("debug", "aedes", { message: error.message }))
      undo.push(() => engine.close())
      const context = contextOf({ access, delivery, engine, limits: options.limits, log: says })
      undo.push(() => context.clock.stop())
      context.clock.add(new Relief(accountant, context.clients, says.tight))
      const arrivals = new Arrivals(context, accountant, log)
      const listeners = await Listeners.open(options.listen, arrivals)
      admin?.start((request) => answer({ delivery, store }, request))
      return new Broker({
        admin,
        store,
        ended: end.signal,
        access,
        delivery,
        context,
        arrivals,
        listeners,
        timers: [sweeping(context, options.queueBytes), collectWhenQuiet()],
      })
    } catch (error) {
      // oxlint-disable-next-line no-await-in-loop -- in the reverse order
      for (const step of undo.toReversed()) await step()
      throw error
    }
  }

  /** Where it listens, in the order of the options. */
  get targets(): Target[] {
    return this.parts.listeners.targets
  }
  /** Aborted, with a BrokerError, when another broker took over the store, or it never answers: this one must end. */
  get mustEnd(): AbortSignal {
    return this.parts.ended
  }
  /** After the end: whether the store in a folder was closed. Else its disk hangs, and the process does not end by itself. */
  isClosed: boolean | undefined = undefined

  get storeUrl(): string {
    return this.parts.store.url
  }
  /** Reads the files of users, rights and TLS again: what cannot be used is told, and what was read before stays. */
  reload(): void {
    this.reloadAccess("all")
    const { access, arrivals, listeners } = this.parts
    const files = [access.files.passwordFile, access.files.aclFile]
    if (!listeners.reload() && files.every((file) => file === undefined))
      arrivals.log.info("SIGHUP came, and there is nothing to read again: no password file, no ACL file, no TLS")
  }

  private reloadAccess(which: "changed" | "all"): void {
    const { access, context, delivery } = this.parts
    if (!access.reload(which)) return
    delivery.govern(access.rights, (user) => access.isUser(user))
    context.clients.recheck((login) => access.holds(login))
  }

  /**
   * Stops accepting, makes durable what was accepted, sends its acknowledgements, closes, all within CLOSED_MS whatever the disk
   * does. Everything acknowledged is kept. Throws `store-unusable` when not all that was accepted is.
   */
  async stop(): Promise<void> {
    const { delivery, context } = this.parts
    const { commits } = delivery
    const begun = performance.now()
    const step = (promise: Promise<unknown>): Promise<boolean> => atMost(Math.min(STEP_MS, begun + STEPS_MS - performance.now()), promise)
    this.closeDoors()
    context.clients.stopReading()
    let flushes = await step(commits.flush())
    context.clients.refuseAll(Reason.SERVER_SHUTTING_DOWN, "the broker stops")
    if (flushes) flushes = await step(commits.flush())
    await step(everyoneLeft(context))
    context.clients.destroyAll()
    delivery.wills.stop()
    if (flushes && !commits.failing) flushes = await step(commits.flush())
    await this.close(begun + CLOSED_MS - performance.now())
    if (commits.failing || !flushes) throw stoppedUnstored()
  }

  /** The store is another broker's, or never answers: connections end, and nothing is said or written any more. */
  async abandon(): Promise<void> {
    this.closeDoors()
    this.parts.context.clients.destroyAll()
    await this.close(STEP_MS)
  }

  private closeDoors(): void {
    const { arrivals, listeners, timers } = this.parts
    this.unwatch()
    listeners.close()
    arrivals.destroyAll()
    for (const timer of timers) clearInterval(timer)
  }

  private async close(ms: number): Promise<void> {
    const { admin, store, delivery, context } = this.parts
    context.clock.stop()
    delivery.wills.stop()
    delivery.commits.stop()
    await context.engine.close()
    this.isClosed = (await atMost(ms, store.close())) || !store.url.startsWith("file:")
    await admin?.close() // from here on the folder may be another broker's
  }
}

/** Resolves with true when a promise does, or with false when so many ms are over. */
function atMost(ms: number, promise: Promise<unknown>): Promise<boolean> {
  return Promise.race([promise.then(() => true), after(ms, false, { ref: false })])
}

/** What is wrong with the store at the start, and no reason not to start. */
function sayTrouble({ trouble }: Store, { commits }: Delivery, log: EventLog): void {
  if (trouble !== undefined) log.warn(`the store takes no commits as it is, nothing that needs them is acknowledged: ${trouble}`)
  else if (commits.isCrowded)
    log.warn("the store has no room for messages as it is, publishers wait: 16 MB of its disk, or of --max-store, must be left")
}

/** Looked up once: all parts use the same folder. */
function placeOf(store: StoreLocation): StoreLocation {
  return store.kind === "file" ? { kind: "file", folder: prepareFolder(store.folder) } : store
}

function stoppedUnstored(): BrokerError {
  return new BrokerError("store-unusable", "stopped while the store took no commits: what was not acknowledged is not stored", {
    hint: "clients that keep their messages until they are acknowledged send them again once the broker is back",
  })
}

function storeNews(log: EventLog): StoreOptions {
  return {
    lost: ({ log: id, last, total }) =>
      log.limited("warn", "lost rows", {
        message: `queued messages are lost: in the store, a part of log ${id} up to position ${last} is not what was written there`,
        fields: { log: id, position: last, total },
      }),
    standsBy: ({ host, pid }) => {
      const message = `standing by: the broker with process id ${pid} on ${host} has the store; this one listens when that one is gone`
      log.warn(message, { event: "standing by", host, owner: pid })
    },
    tookOver: () => log.info("this broker has the store now"),
    failing: (why) => log.limited("warn", "store", { message: why }),
    crowded: (why) => log.limited("warn", "room", { message: `the store has no room for more messages, publishers wait: ${why}` }),
    roomAgain: () => log.limited("info", "room again", { message: "the store has room for messages again" }),
    slowFold: (ms) => log.warn(`the store's tables have taken nothing for ${seconds(ms)}, its journal takes the commits as long as it can`),
    foldGoesOn: () => log.info("the store's tables take what they get again"),
    unreadable: (why) => log.error(`the store's tables cannot be read now, queues wait: ${why}`),
    compacted: ({ before, after }) =>
      log.info(`most of the store's file was free: it takes ${after} bytes now, and took ${before}`, { before, after }),
    notCompacted: (error) => log.warn(`most of the store's file is free, and its space cannot be given back: ${messageOf(error)}`),
  }
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}

function storeEvents(log: EventLog): CommitEvents {
  return {
    failing: (error) => log.error(`the store takes no commits, nothing that needs it is acknowledged until it does: ${messageOf(error)}`),
    recovered: () => log.info("the store takes commits again"),
    slow: (ms) =>
      log.limited("warn", "slow commits", {
        message: `a commit has been on its way to the store for ${seconds(ms)}: what needs one waits`,
        fields: { event: "slow-commit", ms: Math.round(ms) },
      }),
    slowEnded: (ms) =>
      log.limited("info", "slow commits ended", {
        message: `the commit that took long is answered, after ${seconds(ms)}`,
        fields: { event: "slow-commit-ended", ms: Math.round(ms) },
      }),
  }
}

function contextOf(parts: Pick<Context, "access" | "delivery" | "engine" | "limits" | "log">): Context {
  return {
    ...parts,
    clock: new Clock(),
    runs: new PublishReader(parts.delivery.router, new Turns()),
    clients: new Clients(parts.limits.connections, (clientId) => parts.log.fight(clientId)),
  }
}

/** What is looked at each second: Sessions that expired, queues that are full, and what was given up. */
function sweeping({ delivery, log }: Context, queueBytes: number): NodeJS.Timeout {
  return setInterval(() => {
    delivery.commits.watchTime()
    delivery.sessions.expire()
    delivery.retained.expire()
    delivery.sessions.capQueues(queueBytes)
    log.dropped(delivery.sessions.drops.take())
    const refused = delivery.retained.takeRefused()
    if (refused)
      log.notice(
        "retained messages",
        `${refused} not kept, --max-retained, --max-retained-size or what --max-memory leaves for them is reached`,
      )
  }, SWEEP_MS)
}

function everyoneLeft({ clients }: Context): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (clients.count) setTimeout(look, 10)
      else resolve()
    }
    look()
  })
}
