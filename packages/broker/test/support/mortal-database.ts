import { hasMongoServer, type MongoServer, randomId, temporaryFolder, type TestBroker } from "@mqtt-trio/testing"
import { MongoClient } from "mongodb"
import { type Moment, MongoWay } from "./mongo-way.js"
import type { Death, End, MortalStore } from "./mortal-store.js"

/** So long after a commit it is folded, in ms. */
const FOLD_MS = 30

/** Whether there is a MongoDB server for tests that they may kill. */
export function hasMortalServer(): boolean {
  return hasMongoServer() && (process.env["MQTT_TEST_MONGODB"] ?? "") === ""
}

/** `mongodb:` behind a way on which the broker dies. */
export class MortalDatabase implements MortalStore {
  readonly options: MortalStore["options"]
  readonly hasPoints = true
  private readonly database = randomId()

  private constructor(
    private readonly server: MongoServer,
    private readonly way: MongoWay,
    foldBytes: number,
  ) {
    this.options = {
      dir: temporaryFolder(),
      store: `mongodb://127.0.0.1:${way.port}/${this.database}`,
      env: { MQTT_BROKER_TEST_FOLD_BYTES: String(foldBytes), MQTT_BROKER_TEST_FOLD_MS: String(FOLD_MS) },
      args: ["--log-level", "error"],
    }
  }

  /** A new database of a server that can be killed. */
  static async of(server: MongoServer, foldBytes: number): Promise<MortalDatabase> {
    return new MortalDatabase(server, await MongoWay.to(server.port), foldBytes)
  }

  arm(death: Death, broker: TestBroker, late?: Moment): void {
    this.way.arm(death, () => void broker.kill9(), late)
  }

  disarm(): void {
    this.way.disarm()
  }

  /** Power: the server is killed too, and nothing is on its way any more. */
  async restart(broker: TestBroker, end: End): Promise<void> {
    if (end === "power") {
      this.way.lose()
      await this.server.kill9()
      await this.server.restart()
    }
    await this.leaseEnds()
    this.way.open()
    await broker.restart()
    await this.way.reached("serving")
  }

  /** As if the next broker had waited for it. */
  private async leaseEnds(): Promise<void> {
    const client = await MongoClient.connect(`mongodb://127.0.0.1:${this.server.port}`)
    try {
      const leases = client.db(this.database).collection<{ _id: string; renewed: Date }>("broker")
      await leases.updateOne({ _id: "lease" }, { $set: { renewed: new Date(0) } })
    } finally {
      await client.close()
    }
  }
}
