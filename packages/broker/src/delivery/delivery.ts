import type { Store } from "../stores/store.js"
import { Accept } from "./accept.js"
import { type CommitEvents, GroupCommit } from "./group-commit.js"
import { Router } from "./router.js"
import { Sessions } from "./sessions.js"
import { Tail } from "./tail.js"

/** The way of messages, put together: accept → logs and commits → Sessions. */
export interface Delivery {
  readonly router: Router
  readonly commits: GroupCommit
  readonly sessions: Sessions
  readonly accept: Accept
}

/** Opens the way on what the store kept. */
export async function openDelivery(store: Store, events: CommitEvents): Promise<Delivery> {
  const state = await store.load()
  const router = new Router()
  const commits = new GroupCommit(store, state.next, events)
  const tail = new Tail(() => commits.later())
  commits.housekeeping = tail
  const sessions = new Sessions({ store, commits, router, tail })
  sessions.load(state)
  return { router, commits, sessions, accept: new Accept(commits) }
}
