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

/** How long clients may take to go when the broker stops, in ms. */
const STOP_MS = 3000
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
      superseded: AbortSignal
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
      const superseded = (error: BrokerError): void => end.abort(error)
      const store = await openStore(place, {
        ...storeNews(log),
        admin: admin?.folder,
        leaseMs: options.leaseMs,
        signal: options.signal,
        superseded,
      })
      undo.push(() => store.close())
      if (store.trouble !== undefined)
        log.warn(`the store takes no commits as it is, nothing that needs them is acknowledged: ${store.trouble}`)
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
      delivery.govern(access.rights, (user) => access.isUser(user))
      const { owned } = delivery.sessions
      if (owned > 0 && !access.namesUsers)
        log.warn(`there are no users now: whoever connects may take the sessions of those there were, ${owned} of them`)
      const engine = await Engine.start((error) => log.limited("debug", "aedes", { message: error.message }))
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
        superseded: end.signal,
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
  /** Aborted, with a BrokerError, when another broker took over the store: this one must end. */
  get superseded(): AbortSignal {
    return this.parts.superseded
  }
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
   * Stops accepting, makes durable what was accepted, sends its acknowledgements, closes. Everything acknowledged is kept.
   * Throws `store-unusable` when the store took no commits to the end.
   */
  async stop(): Promise<void> {
    const { delivery, context } = this.parts
    this.closeDoors()
    context.clients.stopReading()
    const flushes = await atMost(STOP_MS, delivery.commits.flush())
    context.clients.refuseAll(Reason.SERVER_SHUTTING_DOWN, "the broker stops")
    if (flushes) await atMost(STOP_MS, delivery.commits.flush())
    await atMost(STOP_MS, everyoneLeft(context))
    context.clients.destroyAll()
    delivery.wills.stop()
    if (flushes && !delivery.commits.failing) await atMost(STOP_MS, delivery.commits.flush())
    await this.close()
    if (delivery.commits.failing) throw stoppedUnstored()
  }

  /** Another broker has the store: connections end, and nothing is said or written any more. */
  async abandon(): Promise<void> {
    this.closeDoors()
    this.parts.context.clients.destroyAll()
    await this.close()
  }

  private closeDoors(): void {
    const { arrivals, listeners, timers } = this.parts
    this.unwatch()
    listeners.close()
    arrivals.destroyAll()
    for (const timer of timers) clearInterval(timer)
  }

  private async close(): Promise<void> {
    const { admin, store, delivery, context } = this.parts
    context.clock.stop()
    delivery.wills.stop()
    delivery.commits.stop()
    await context.engine.close()
    await atMost(STOP_MS, store.close())
    await admin?.close() // from here on the folder may be another broker's
  }
}

/** Resolves with true when a promise does, or with false when so many ms are over. */
function atMost(ms: number, promise: Promise<unknown>): Promise<boolean> {
  return Promise.race([promise.then(() => true), after(ms, false, { ref: false })])
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
    unreadable: (why) => log.error(`the store's tables cannot be read now, queues wait: ${why}`),
    compacted: ({ before, after }) =>
      log.info(`most of the store's file was free: it takes ${after} bytes now, and took ${before}`, { before, after }),
    notCompacted: (error) => log.warn(`most of the store's file is free, and its space cannot be given back: ${messageOf(error)}`),
  }
}

function storeEvents(log: EventLog): CommitEvents {
  return {
    failing: (error) => log.error(`the store takes no commits, nothing that needs it is acknowledged until it does: ${messageOf(error)}`),
    recovered: () => log.info("the store takes commits again"),
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
