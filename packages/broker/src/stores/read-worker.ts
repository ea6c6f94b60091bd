import { parentPort, workerData } from "node:worker_threads"
import { checked } from "./checksum.js"
import { type Chunk, chunkOfRow } from "./chunks.js"
import { type Environment, openToRead } from "./environment.js"
import { logKey, readUint64 } from "./keys.js"

/** A place in a log: what lies below it, or the last position of a row. */
export type LogPosition = readonly [log: number, position: number]

/** What the thread is asked. */
export type Question =
  | { kind: "read"; log: number; position: number; chunks: number; bytes: number }
  /** the rows of logs below a position of each, in this order, at most `limit` */
  | { kind: "rows"; cuts: readonly LogPosition[]; limit: number }
  /** the file is to be closed; the next question opens it again */
  | { kind: "close" }

/** What it answers. */
export interface Answer {
  /** of "read": the chunks, and the length of each one's bytes, which lie one behind the other in `bytes` */
  chunks: (Omit<Chunk, "value"> & { length: number })[]
  bytes: Uint8Array<ArrayBuffer>
  /** of "read": the last positions of rows that are not what was written, and were passed over */
  damaged: number[]
  /** of "rows" */
  rows: LogPosition[]
  /** nothing could be read; why */
  failed?: string
}

let environment: Pick<Environment, "root" | "chunks"> | undefined

parentPort?.on("message", ({ id, question }: { id: number; question: Question }) => {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, no window
  void safely(question).then((answer) => parentPort?.postMessage({ id, answer }, [answer.bytes.buffer]))
})

async function safely(question: Question): Promise<Answer> {
  const none = { chunks: [], bytes: new Uint8Array(0), damaged: [], rows: [] }
  try {
    if (question.kind === "close") {
      const open = environment
      environment = undefined
      await open?.root.close()
      return none
    }
    environment ??= openToRead(String(workerData))
    environment.root.resetReadTxn() // what is durable now
    return question.kind === "rows" ? { ...none, rows: rowsOf(environment, question) } : { ...none, ...read(environment, question) }
  } catch (error) {
    return { ...none, failed: error instanceof Error ? error.message : String(error) }
  }
}

function read({ root, chunks }: Pick<Environment, "root" | "chunks">, ask: Question & { kind: "read" }): Omit<Answer, "rows"> {
  const found: Answer["chunks"] = []
  const values: Buffer[] = []
  let left = ask.bytes
  const damaged: number[] = []
  let rows = 0
  for (const { key, value } of chunks.getRange({ start: logKey(ask.log, ask.position), end: logKey(ask.log + 1, 0) })) {
    rows++
    const row = checked("chunks", key, value)
    if (!row) {
      damaged.push(readUint64(key, 8))
      continue
    }
    const { value: block, ...chunk } = chunkOfRow(key, row)
    found.push({ ...chunk, length: block.length })
    values.push(block)
    left -= block.length
    if (left <= 0 || found.length === ask.chunks) break
  }
  // LMDB finds nothing at all between a transaction that failed and its beginning anew
  if (!rows && [...root.getKeys({ limit: 1 })].length === 0) throw new Error("not even its tables are there")
  return { chunks: found, bytes: joined(values), damaged }
}

/** In memory of its own: it is handed over. */
function joined(values: readonly Buffer[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(values.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const value of values) {
    bytes.set(value, at)
    at += value.length
  }
  return bytes
}

function rowsOf({ chunks }: Pick<Environment, "root" | "chunks">, { cuts, limit }: Question & { kind: "rows" }): LogPosition[] {
  const rows: LogPosition[] = []
  for (const [log, below] of cuts) {
    const range = { start: logKey(log, 0), end: logKey(log, below), limit: limit - rows.length }
    for (const key of chunks.getKeys(range)) rows.push([log, readUint64(key, 8)])
    if (rows.length === limit) break
  }
  return rows
}
