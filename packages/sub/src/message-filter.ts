import { topicMatches } from "@mqtt-trio/common"
import type { ReceivedMessage } from "@mqtt-trio/client"
import type { SubValues } from "./rules.js"

/** True when a message counts: `-T`, `-R`, `--random-filter`. */
export function createFilter(values: SubValues): (message: ReceivedMessage) => boolean {
  const chance = (values.randomFilter ?? 100) / 100
  return (message) => {
    if (values.skipRetained && message.retain) return false
    if (values.filterOut.some((filter) => topicMatches(filter, message.topic))) return false
    return chance >= 1 || Math.random() < chance
  }
}
