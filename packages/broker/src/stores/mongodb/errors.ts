import { MongoServerError } from "mongodb"
import { BrokerError } from "../../errors.js"
import { messageOf } from "@mqtt-trio/common"

/** Another broker took the database over: this one must not say anything of it any more. */
export class Superseded extends BrokerError {
  constructor(url: string) {
    super("store-in-use", `another broker took over the database ${url} while this one was away`, {
      hint: "nothing that was acknowledged is lost; start it again to have it stand by",
    })
  }
}

/** The database cannot be used. */
export function databaseError(url: string, cause: unknown): BrokerError {
  return new BrokerError("store-unusable", `the store ${url} cannot be used: ${messageOf(cause)}`, {
    hint: "is the server there, and are its name, its port and the credentials right? --store file:DIR needs no server",
    cause,
  })
}

/** Whether a document with this key is there already, or one that a condition left out. */
export function isDuplicate(error: unknown): boolean {
  return error instanceof MongoServerError && error.code === 11_000
}
