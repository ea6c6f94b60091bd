import { hostname } from "node:os"
import { BrokerError } from "../../errors.js"
import type { DatabasePlace } from "../store-url.js"
import { collectionsOf, connect } from "./database.js"
import { databaseError } from "./errors.js"

/** The folder in which local tools reach the broker that owns a database. Throws a BrokerError when there is none, or on another machine. */
export async function adminFolderOf(place: DatabasePlace): Promise<string> {
  const { connection, shown, database } = place
  const failed = (error: unknown): never => {
    throw databaseError(place, error)
  }
  const client = await connect(connection).catch(failed)
  try {
    const lease = await collectionsOf(client.db(database)).lease.findOne({ _id: "lease" }).catch(failed)
    if (!lease || lease.released || lease.admin === "")
      throw new BrokerError("no-broker", `no broker runs on the store ${shown}`, {
        hint: `start it with: mqtt-broker start --store ${shown}`,
      })
    if (lease.host !== hostname())
      throw new BrokerError("no-broker", `the broker on the store ${shown} runs on ${lease.host}, not on this machine`, {
        hint: "run this command there",
      })
    return lease.admin
  } finally {
    await client.close()
  }
}
