import { readFileSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { crc32 } from "node:zlib"
import { startBroker } from "@mqtt-trio/testing"
import { expect, test } from "vitest"
import { absent, drain, publishAll } from "../support/stored.js"

/** A record of the journal with nothing in it, as somebody would write it who knows the format and not the store's secret. */
function forged(sequence: number): Buffer {
  const record = Buffer.alloc(32)
  record.writeUInt32LE(32, 0)
  record.writeDoubleLE(sequence, 8)
  record.writeUInt32LE(crc32(record.subarray(8)), 4)
  return record
}

/** One of them lies where a record may begin, wherever the payload lies. */
function everywhere(record: Buffer): Buffer {
  return Buffer.concat(Array.from({ length: 32 }, () => Buffer.concat([record, Buffer.alloc(1)])))
}

test("a payload that looks like records of the journal is a payload: a killed broker starts, and delivers it", async () => {
  const broker = await startBroker()
  await absent(broker.port, "a", "a/#")
  const payload = everywhere(forged(1e9))
  await publishAll(broker.port, [{ topic: "a/b", payload }])
  const store = join(broker.dir, "store")
  const journal = readFileSync(join(store, readdirSync(store).find((name) => name.startsWith("journal.")) ?? ""))
  expect(journal.includes(payload)).toBe(true)
  expect(journal.readUInt32LE(28)).not.toBe(0)
  await broker.kill9()
  await broker.restart()
  expect(await drain(broker.port, "a")).toEqual([payload.toString()])
})
