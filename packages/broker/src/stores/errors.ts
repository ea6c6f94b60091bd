import { messageOf } from "@mqtt-trio/common"
import { BrokerError } from "../errors.js"

/** The store in `folder` cannot be used. */
export function storeError(folder: string, cause: unknown): BrokerError {
  return new BrokerError("store-unusable", `the store in ${JSON.stringify(folder)} cannot be used: ${messageOf(cause)}`, {
    hint: "give another place with --store file:DIR, or --store memory: to keep nothing",
    cause,
  })
}
