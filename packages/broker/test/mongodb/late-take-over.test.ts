import { startBroker, startMongoServer } from "@mqtt-trio/testing"
import { expect, test } from "vitest"
import { ROWS } from "../../src/stores/mongodb/database.js"
import { hasMortalServer, MortalDatabase } from "../support/mortal-database.js"
import { absent, drain, publishAll } from "../support/stored.js"

/** Of a take-over: a new epoch of rows, two writes for each of their collections, then the journal counts. */
const LAST_WRITE = 1 + 2 * ROWS.length + 1

test.runIf(hasMortalServer())("the last write of a take-over comes late, while the next owner takes over: that one serves", async () => {
  const store = await MortalDatabase.of(await startMongoServer(), 1 << 20)
  const broker = await startBroker(store.options)
  await absent(broker.port, "s", "t")
  const texts = ["1", "2", "3"]
  await publishAll(
    broker.port,
    texts.map((text) => ({ topic: "t", payload: Buffer.from(text) })),
  )
  await broker.kill9()
  store.arm({ at: "fold-before", nth: LAST_WRITE }, broker, "sealing")
  await expect(store.restart(broker, "process")).rejects.toThrow("SIGKILL")
  await store.restart(broker, "process")
  expect(await drain(broker.port, "s")).toEqual(texts)
})
