import type { Store } from "../stores/store.js"
import type { Frames } from "../wire/frames.js"
import { qosOf } from "../wire/packet-types.js"
import { topicOf } from "../wire/publish.js"
import { Accept } from "./accept.js"
import { type CommitEvents, GroupCommit } from "./group-commit.js"
import { Retained, type RetainedLimits } from "./retained.js"
import { Router } from "./router.js"
import { type Discarded, Sessions } from "./sessions.js"
import { Tail } from "./tail.js"
import { Wills } from "./wills.js"

/** The way of messages, put together: accept → retained, logs and commits → Sessions. */
export interface Delivery {
  readonly router: Router
  readonly commits: GroupCommit
  readonly sessions: Sessions
  readonly retained: Retained
  readonly wills: Wills
  readonly accept: Accept
}

export interface DeliveryLimits {
  retained: RetainedLimits
  /** most levels of a Topic Name */
  topicLevels: number
}

export interface DeliveryEvents extends CommitEvents {
  /** messages were lost with a Session */
  discarded(lost: Discarded): void
}

/** Opens the way on what the store kept. Wills of connections that died with the last broker are sent. */
export async function openDelivery(store: Store, limits: DeliveryLimits, events: DeliveryEvents): Promise<Delivery> {
  const state = await store.load()
  const router = new Router(limits.topicLevels)
  const commits = new GroupCommit(store, state.next, events)
  const tail = new Tail(() => commits.later())
  commits.housekeeping = tail
  const retained = new Retained(commits, limits.retained)
  const accept = new Accept(commits, retained)
  const wills = new Wills(commits, (message: Frames) => {
    accept.accept(message, qosOf(message.headerOf(0)), router.match(topicOf(message, 0)), NOBODY)
  })
  const sessions = new Sessions({
    store,
    commits,
    router,
    tail,
    ended: (clientId) => wills.sessionEnded(clientId),
    discarded: (lost) => events.discarded(lost),
  })
  retained.load(state.retained)
  sessions.load(state)
  wills.load(state.wills, (clientId) => sessions.get(clientId) !== undefined)
  return { router, commits, sessions, retained, wills, accept }
}

const NOBODY = { session: null, outlet: null }
