import { counted } from "@mqtt-trio/common"
import type { Contents } from "../stores/inspect.js"

/** What is in a store, for people. */
export function contentsInWords({ sessions, subscriptions, messages, retained, wills }: Contents): string {
  return [
    counted(sessions, "session"),
    counted(subscriptions, "subscription"),
    counted(messages, "stored message"),
    counted(retained, "retained message"),
    counted(wills, "Will"),
  ].join(", ")
}
