import { join } from "node:path"
import { temporaryFolder } from "@mqtt-trio/testing"
import { expect, test } from "vitest"
import { type Environment, openEnvironment } from "../../src/stores/environment.js"
import { addChecksums, formatRow, moveSome } from "../../src/stores/formats.js"
import { logKey, idKey, slotKey } from "../../src/stores/keys.js"
import { openStore } from "../../src/stores/open-store.js"
import type { Store } from "../../src/stores/store.js"
import { chunk, readOn } from "../support/chunks.js"

const FORMAT = Buffer.from("format")
const READ_PROGRAM = new URL("../../dist/stores/read-worker.js", import.meta.url)
const LOGS = 3
const MESSAGES = 700
const KEPT = chunk(0, 0, "kept")
const SESSION = { clientId: "ü", expirySeconds: null, disconnectedAt: 1_700_000_000_000 }
const SUBSCRIPTION = { filter: "t", qos: 1, noLocal: false, retainAsPublished: false, identifier: 0, log: 1, since: 3, until: null }

const u32 = (value: number): Buffer => Buffer.from([value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255])
const number = (value: number): Buffer => Buffer.concat([u32(0), u32(value)])
const payload = (log: number, n: number): string => `${log}/${n}`

/** A block as format 1 had it: with what went into the log before it. */
const WILL = { clientId: "w", delaySeconds: 0, v5: false, packet: "" }

function block1({ value, first }: { value: Buffer; first: number }): Buffer {
  const end = value.length - 24
  const counts = Buffer.alloc(16)
  counts.writeDoubleLE(first - 1, 0)
  counts.writeDoubleLE((first - 1) * 10, 8)
  const block = Buffer.concat([
    value.subarray(0, end + 8),
    counts,
    value.subarray(end + 8, end + 16),
    Buffer.alloc(8),
    value.subarray(end + 16),
  ])
  block.writeUInt32LE(1, block.length - 8)
  return block
}

/** Tables as a broker before the journal left them. */
async function write1(folder: string, change?: (environment: Environment) => unknown): Promise<void> {
  const environment = openEnvironment(join(folder, "mqtt-broker.mdb"))
  const { sessions, subscriptions, cursors, incoming, retained, wills, meta, logs, root } = environment
  await root.transaction(() => {
    void sessions.put(idKey(7), Buffer.from(JSON.stringify(SESSION)))
    void subscriptions.put(slotKey(7, 2), Buffer.from(JSON.stringify(SUBSCRIPTION)))
    void cursors.put(idKey(7), Buffer.concat([number(5), number(9), Buffer.from("ring")]))
    void incoming.put(slotKey(7, 77), Buffer.alloc(0))
    void retained.put(idKey(3), block1(KEPT))
    void wills.put(idKey(4), Buffer.from(JSON.stringify(WILL)))
    for (let log = 1; log <= LOGS; log++)
      for (let n = 1; n <= MESSAGES; n += 2) void logs.put(logKey(log, n), block1(chunk(log, n, payload(log, n), payload(log, n + 1))))
    void meta.put(FORMAT, u32(1))
    void meta.put(Buffer.from("next"), Buffer.concat([number(1_000_000), number(2000)]))
    change?.(environment)
  })
  await root.close()
}

async function opened(folder: string): Promise<Store> {
  return openStore({ kind: "file", folder }, { readProgram: READ_PROGRAM })
}

async function expectWhole(folder: string): Promise<void> {
  const store = await opened(folder)
  const { sessions, retained, wills, logs, next } = await store.load()
  expect(sessions).toEqual([
    {
      id: 7,
      row: SESSION,
      cursor: { position: 5, sentBelow: 9, inflight: Buffer.from("ring") },
      subscriptions: new Map([[2, SUBSCRIPTION]]),
      incoming: [77],
    },
  ])
  expect([retained, wills]).toEqual([[{ id: 3, value: KEPT.value }], [{ id: 4, value: WILL }]])
  expect(next).toEqual({ position: 1_000_000, id: 2000 })
  const whole = Array.from({ length: LOGS }, (_, n) => [n + 1, MESSAGES, MESSAGES])
  expect(logs.map(({ id, last, messages }) => [id, last, messages])).toEqual(whole)
  for (let log = 1; log <= LOGS; log++) {
    const wanted = Array.from({ length: MESSAGES }, (_, n) => [n + 1, payload(log, n + 1)])
    expect((await readOn(store, log, 0)).map(([position, bytes]) => [position, bytes.toString()])).toEqual(wanted)
  }
  await store.close()
}

test("a store of format 1 has all it had, and again at the next start", async () => {
  const folder = temporaryFolder()
  await write1(folder)
  await expectWhole(folder)
  await expectWhole(folder)
})

test("a store of format 2 has all it had, and is one of format 3 then", async () => {
  const folder = temporaryFolder()
  await write1(folder)
  const older = openEnvironment(join(folder, "mqtt-broker.mdb"))
  await addChecksums(older)
  await moveSome(older)
  await older.meta.put(FORMAT, formatRow(2))
  await older.root.close()
  await expectWhole(folder)
  const { meta, root } = openEnvironment(join(folder, "mqtt-broker.mdb"))
  expect(meta.get(FORMAT)).toEqual(formatRow(3))
  await root.close()
  await expectWhole(folder)
})

test("a conversion that was interrupted goes on", async () => {
  const folder = temporaryFolder()
  await write1(folder)
  const half = openEnvironment(join(folder, "mqtt-broker.mdb"))
  await addChecksums(half)
  expect(await moveSome(half)).toBe(true)
  await half.root.close()
  await expectWhole(folder)
})

test.each([
  [
    "a newer format",
    (environment: Environment) => environment.meta.put(FORMAT, formatRow(4)),
    /format is 4, this version reads up to 3; use a newer/,
  ],
  ["format 0", (environment: Environment) => environment.meta.put(FORMAT, u32(0)), /format is 0/],
  ["no format", (environment: Environment) => environment.meta.remove(FORMAT), /does not say in which format/],
])("%s is refused, and nothing is changed", async (_, change, words) => {
  const folder = temporaryFolder()
  await write1(folder, change)
  for (let n = 0; n < 2; n++) {
    const store = await opened(folder)
    await expect(store.load()).rejects.toThrow(words)
    await store.close()
  }
  await write1(folder)
  await expectWhole(folder)
})
