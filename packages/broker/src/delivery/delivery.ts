import { isReserved } from "../access/rights/reserved-topics.js"
import type { Identity, Rights } from "../access/rights/rights.js"
import type { Accountant } from "../accounting/accountant.js"
import type { Store } from "../stores/store.js"
import type { Frames } from "../wire/frames.js"
import { qosOf } from "../wire/packet-types.js"
import { topicOf } from "../wire/publish.js"
import { BrokerTime } from "./broker-time.js"
import { Intake } from "./intake.js"
import { type CommitEvents, GroupCommit } from "./logs/group-commit.js"
import { Retained, type RetainedLimits } from "./retained/retained.js"
import { Router } from "./routing/router.js"
import { type Discarded, Sessions } from "./sessions/sessions.js"
import { ChunkCache } from "./logs/chunk-cache.js"
import { Housekeeping, type Woken } from "./logs/housekeeping.js"
import { Wills } from "./wills/wills.js"

/** The way of messages, put together: intake → retained, logs and commits → Sessions. */
export interface Delivery {
  readonly router: Router
  readonly commits: GroupCommit
  readonly sessions: Sessions
  readonly retained: Retained
  readonly wills: Wills
  readonly intake: Intake
  /**
   * From now on these rules say who publishes and who receives; undefined: everybody may do everything that is not reserved.
   * `isUser`: whether there still is such a user.
   */
  govern(rights: Rights | undefined, isUser: (user: string) => boolean): void
  mayPublish(identity: Identity, topic: string): boolean
  /** The Session sends what it has in a later turn of the event loop. */
  pumpLater(session: Woken): void
}

export interface DeliveryLimits {
  retained: RetainedLimits
  /** most levels of a Topic Name */
  topicLevels: number
}

export interface DeliveryEvents extends CommitEvents {
  /** messages were lost with a Session */
  discarded(lost: Discarded): void
  /** a Will was not sent: its user lost the right to publish to its topic */
  forbiddenWill(clientId: string, topic: string): void
}

/** Opens the way on what the store kept. Wills of connections that died with the last broker are sent. */
export async function openDelivery(
  store: Store,
  accountant: Accountant,
  limits: DeliveryLimits,
  events: DeliveryEvents,
): Promise<Delivery> {
  let rules: Rights | undefined
  let known = everybody
  const state = await store.load()
  const router = new Router(limits.topicLevels)
  const commits = new GroupCommit(store, state.next, events, BrokerTime.after(state))
  const housekeeping = new Housekeeping(() => commits.later())
  commits.attend(housekeeping)
  const retained = new Retained(commits, limits.retained)
  const stored = accountant.place("the store")
  const intake = new Intake(commits, retained)
  const mayPublish = (identity: Identity, topic: string): boolean =>
    !isReserved(topic) && (identity.user === undefined || known(identity.user)) && rules?.permissions(identity).mayWrite(topic) !== false
  const wills = new Wills(commits, (message: Frames, will) => {
    const topic = topicOf(message, 0)
    const qos = qosOf(message.headerOf(0))
    const match = router.match(topic)
    if (!mayPublish(will, topic)) events.forbiddenWill(will.clientId, topic)
    else if (commits.lacksRoom(message.bytes) && intake.needsRoom(message, qos, match)) return false
    else intake.accept(message, qos, match, { session: undefined, outlet: undefined, place: will.place })
    return true
  })
  const sessions = new Sessions({
    store,
    commits,
    router,
    cache: new ChunkCache(accountant),
    place: stored,
    housekeeping,
    ended: (clientId) => wills.sessionEnded(clientId),
    discarded: (lost) => events.discarded(lost),
  })
  retained.load(state.retained, stored)
  sessions.load(state)
  wills.load(state.wills, stored, (clientId) => sessions.get(clientId) !== undefined)
  const govern: Delivery["govern"] = (rights, isUser) => {
    rules = rights
    known = isUser
    sessions.govern(rights)
  }
  const pumpLater: Delivery["pumpLater"] = (session) => housekeeping.pumpLater(session)
  return { router, commits, sessions, retained, wills, intake, govern, mayPublish, pumpLater }
}

const everybody = (_user: string): boolean => true
