import { MongoServerError } from "mongodb"
import { BrokerError } from "../../errors.js"
import { messageOf } from "@mqtt-trio/common"
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

/** The database cannot be used. What is said has no credentials in it. */
export function databaseError({ connection, shown }: DatabasePlace, cause: unknown): BrokerError {
  const words = messageOf(cause)
    .replaceAll(connection, shown)
    .replaceAll(/\/\/[^\s/]*@/g, "//")
  const hint =
    cause instanceof Damage
      ? "nothing was changed; the database's own tools show it"
      : "is the server there, and are its name, its port and the credentials right? --store file:DIR needs no server"
  return new BrokerError("store-unusable", `the store ${shown} cannot be used: ${words}`, { hint })
}

/** Whether a document with this key is there already, or one that a condition left out. */
export function isDuplicate(error: unknown): boolean {
  return error instanceof MongoServerError && error.code === 11_000
}
