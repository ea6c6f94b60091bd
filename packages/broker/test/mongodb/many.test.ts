import { hasMongoServer, type MongoServer, startMongoServer } from "@mqtt-trio/testing"
import { type Db, MongoClient } from "mongodb"
import { beforeAll, describe, expect, onTestFinished, test, vi } from "vitest"
import { collectionsOf } from "../../src/stores/mongodb/database.js"
import { PacketReading } from "../../src/stores/mongodb/packet-reading.js"
import { packetKey, packetsOf } from "../../src/stores/mongodb/packets.js"
import { serve, type Serving } from "../../src/stores/mongodb/serving.js"
import { chunk, NOTHING, readOn } from "../support/chunks.js"

// before the store reads it: nothing is folded by itself
vi.hoisted(() => {
  process.env["MQTT_BROKER_TEST_FOLD_MS"] = "60000"
})

const LOG = 5
const SILENT = { unreadable: () => {}, unfoldable: () => {} }

function owner(db: Db, epoch: number): Promise<Serving> {
  const collections = collectionsOf(db)
  const followsRelease = epoch === 1
  return serve(
    { db, patient: db, collections, epoch, owner: `${epoch}`, followsRelease, superseded: () => new Error("superseded") },
    SILENT,
  )
}

describe.skipIf(!hasMongoServer())("much at a time", () => {
  const state: { server?: MongoServer } = {}
  let n = 0

  beforeAll(async () => {
    state.server = await startMongoServer()
  })

  async function database(): Promise<Db> {
    const client = await MongoClient.connect(state.server?.url ?? "")
    onTestFinished(() => client.close())
    return client.db(`many${n++}`)
  }

  test("more commits in the journal than are read or written at a time: the next owner, and the one after it, has all in order", async () => {
    const commits = 1250
    const db = await database()
    const first = await owner(db, 1)
    for (let k = 1; k <= commits; k++) await first.folding.commit({ ...NOTHING, appends: [chunk(LOG, k, `${k}`)] })
    for (const epoch of [2, 3]) {
      const next = await owner(db, epoch)
      const read = await readOn(next.folding, LOG, 1)
      expect(read.map(([at]) => at)).toEqual(Array.from({ length: commits }, (_, k) => k + 1))
      await next.close()
    }
    await first.close()
  })

  test("many Sessions that read at once leave connections for commits", async () => {
    const db = await database()
    const { packets } = collectionsOf(db)
    const logs = Array.from({ length: 20 }, (_, k) => k + 1)
    await packets.insertMany(logs.flatMap((log) => [...packetsOf(log, chunk(log, 1, `${log}`))]))
    let [asking, most] = [0, 0]
    const counting: typeof packets = Object.assign(Object.create(packets), {
      find: (...args: Parameters<typeof packets.find>) => {
        const cursor = packets.find(...args)
        const next = cursor.next.bind(cursor)
        cursor.next = async () => {
          most = Math.max(most, ++asking)
          try {
            return await next()
          } finally {
            asking--
          }
        }
        return cursor
      },
    })
    const reading = new PacketReading(counting)
    const came: string[] = []
    const take = ({ _id }: { _id: string }): boolean => came.push(_id) > 0
    await Promise.all(logs.map((log) => reading.each(log, { position: 0, last: 1 }, take)))
    expect(came.toSorted()).toEqual(logs.map((log) => packetKey(log, 1)))
    expect(most).toBe(4)
  })
})
