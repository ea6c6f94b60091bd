import { getSystemErrorMap } from "node:util"
import { messageOf, systemCode } from "@mqtt-trio/common"
import { BrokerError } from "../errors.js"

/** What is kept in a store is not what was written there. */
export class Damage extends Error {}

/** A store is where others can change it; `hint` says what to do. */
export class Exposed extends Error {
  constructor(
    message: string,
    readonly hint: string,
  ) {
    super(message)
  }
}

/** The store in `folder` cannot be used. */
export function storeError(folder: string, cause: unknown): BrokerError {
  return new BrokerError("store-unusable", `the store in ${JSON.stringify(folder)} cannot be used: ${inWords(cause)}`, {
    hint: hintFor(folder, cause),
    cause,
  })
}

function hintFor(folder: string, cause: unknown): string {
  if (cause instanceof Exposed) return cause.hint
  return cause instanceof Damage
    ? `mqtt-broker repair --store file:${folder} keeps what is intact and says what is missing; or take a copy from before`
    : "give another place with --store file:DIR, or --store memory: to keep nothing"
}

/** What the system says, without the call and the path inside the folder that it was about. */
export function inWords(cause: unknown): string {
  const [, words] = cause instanceof Error && "errno" in cause ? (getSystemErrorMap().get(Number(cause.errno)) ?? []) : []
  return words === undefined ? messageOf(cause) : `${words} (${systemCode(cause) ?? ""})`
}

/** Another broker uses the folder. */
export function inUse(folder: string): BrokerError {
  return new BrokerError("store-in-use", `another broker uses the folder ${JSON.stringify(folder)}`, {
    hint: "stop it, or give this one its own place with --store file:DIR",
  })
}
