import { MongoServerError } from "mongodb"
import { BrokerError } from "../../errors.js"
import { type CliError, messageOf, usageError } from "@mqtt-trio/common"
import { Damage } from "../errors.js"
import type { DatabasePlace } from "../store-url.js"

/** Another broker took the database over: this one must not say anything of it any more. */
export class Superseded extends BrokerError {
  constructor(url: string) {
    super("store-in-use", `another broker took over the database ${url} while this one was away`, {
      hint: "nothing that was acknowledged is lost; start it again to have it stand by",
    })
  }
}

/** Nobody took over, and this one's lease is not there any more. */
export function lostLease(url: string): BrokerError {
  return new BrokerError(
    "store-unusable",
    `the lease of this broker is not in the database ${url} any more: somebody dropped or changed it`,
    {
      hint: "what was acknowledged is there only if its documents still are; start again on a database that is as it should be",
    },
  )
}

/** The driver does not take the URL. */
export class UnusableUrl extends Error {
  constructor(cause: unknown) {
    super(messageOf(cause), { cause })
  }
}

/** The database cannot be used. What is said has no credentials in it. */
export function databaseError({ connection, shown }: DatabasePlace, cause: unknown): BrokerError | CliError {
  const words = messageOf(cause)
    .replaceAll(connection, shown)
    .replaceAll(/\/\/[^\s/]*@/g, "//")
  if (cause instanceof UnusableUrl)
    return usageError(`the URL of the store ${shown} cannot be used: ${words}`, "its options are those of MongoDB's driver for Node.js")
  return new BrokerError("store-unusable", `the store ${shown} cannot be used: ${words}`, {
    hint: cause instanceof Damage ? "nothing was changed; the database's own tools show it" : SERVER_HINT,
  })
}

const SERVER_HINT = "is the server there, and are its name, its port, TLS and the credentials right? --store file:DIR needs no server"

/** Whether a document with this key is there already, or one that a condition left out. */
export function isDuplicate(error: unknown): boolean {
  return error instanceof MongoServerError && error.code === 11_000
}
