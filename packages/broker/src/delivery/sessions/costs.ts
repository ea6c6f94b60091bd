import { costOf } from "../routing/topic-node.js"

/** What an open Packet Identifier of a client takes in memory, in bytes; all of this was measured. */
export const INCOMING_COST_BYTES = 40

/** What a Session takes in memory without what waits for it. */
export function costOfSession(clientId: string): number {
  return 4500 + clientId.length
}

/** What a Subscription takes in memory, with its place among those of all. */
export function costOfSubscription(filter: string): number {
  return 400 + filter.length + costOf(filter)
}

/** What a hold takes in memory, with a log that nobody else holds. */
export function costOfHold(filter: string): number {
  return 2000 + filter.length
}
