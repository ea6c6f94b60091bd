import { parentPort, workerData } from "node:worker_threads"
import { checksumOf, sharersOf } from "./bodies.js"
import { checked } from "./checksum.js"
import { type BytelessChunk, type Chunk, chunkOfRow, referenceOfRow } from "./chunks.js"
import { type MessageTables, openToRead } from "./environment.js"
import { idKey, logKey, readUint64, referenceKey } from "./keys.js"
import { type LogRow, logRows } from "./log-rows.js"

/** What lies in a log below a position. */
export type LogPosition = readonly [log: number, position: number]

/** A row of a log: the position of its last message, and the body that it refers to, 0: it has its own bytes. */
export type RowPlace = readonly [log: number, last: number, body: number]

/** What the thread is asked. */
export type Question =
  | { kind: "read"; log: number; position: number; chunks: number; bytes: number }
  /** a body, and what refers to it */
  | { kind: "body"; place: RowPlace; checksum: number }
  /** the rows that a table has of logs below a position of each, in this order, at most `limit` */
  | { kind: "rows"; table: LogRow["table"]; cuts: readonly LogPosition[]; limit: number }
  /** the file is to be closed; the next question opens it again */
  | { kind: "close" }

/** What it answers. */
export interface Answer {
  /** of "read": the chunks; the bytes of those that have their own lie one behind the other in `bytes` */
  chunks: BytelessChunk[]
  /** of "body": the body, empty: there is none that is intact */
  bytes: Uint8Array<ArrayBuffer>
  /** the last positions of rows that are not what was written, and were passed over */
  damaged: number[]
  /** of "rows" */
  rows: RowPlace[]
  /** of "rows": how many references each body has that they refer to */
  sharers: [body: number, references: number][]
  /** nothing could be read; why */
  failed?: string
}

/** A question, or its answer, with its number. */
export type Asked = { id: number; question: Question }
export type Answered = { id: number; answer: Answer }

/** What is answered together: so that others have their turn where it is taken. */
const MOST_ANSWERS = 64
const ANSWER_BYTES = 1 << 18

let environment: MessageTables | undefined

parentPort?.on("message", (asked: readonly Asked[]) => void answerAll(asked))

async function answerAll(asked: readonly Asked[]): Promise<void> {
  let answers: Answered[] = []
  let bytes = 0
  const send = (): void => {
    const buffers = answers.map(({ answer }) => answer.bytes.buffer).filter(({ byteLength }) => byteLength > 0)
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, no window
    parentPort?.postMessage(answers, buffers)
    answers = []
    bytes = 0
  }
  for (const { id, question } of asked) {
    // oxlint-disable-next-line no-await-in-loop -- in their order
    const answer = await safely(question)
    answers.push({ id, answer })
    bytes += answer.bytes.length
    if (answers.length >= MOST_ANSWERS || bytes >= ANSWER_BYTES) send()
  }
  if (answers.length) send()
}

async function safely(question: Question): Promise<Answer> {
  const none: Answer = { chunks: [], bytes: new Uint8Array(0), damaged: [], rows: [], sharers: [] }
  try {
    if (question.kind === "close") {
      const open = environment
      environment = undefined
      await open?.root.close()
      return none
    }
    environment ??= openToRead(String(workerData))
    environment.root.resetReadTxn() // what is durable now
    if (question.kind === "read") return { ...none, ...read(environment, question) }
    if (question.kind === "body") return { ...none, ...bodyOf(environment, question) }
    return { ...none, ...rowsOf(environment, question) }
  } catch (error) {
    return { ...none, failed: error instanceof Error ? error.message : String(error) }
  }
}

function read(tables: MessageTables, ask: Question & { kind: "read" }): Pick<Answer, "chunks" | "bytes" | "damaged"> {
  const found: BytelessChunk[] = []
  const values: Buffer[] = []
  let left = ask.bytes
  const damaged: number[] = []
  let rows = 0
  for (const row of logRows(tables, [ask.log, ask.position], ask.log + 1)) {
    rows++
    const last = readUint64(row.key, 8)
    if (found.at(-1)?.last === last) continue // a fold that was interrupted wrote it too
    const bytes = checked(row.table, row.key, row.value)
    if (!bytes) {
      damaged.push(last)
      continue
    }
    const chunk = row.table === "chunks" ? withLength(chunkOfRow(row.key, bytes), values) : referenceOfRow(row.key, bytes)
    found.push(chunk)
    left -= chunk.length
    if (left <= 0 || found.length === ask.chunks) break
  }
  if (!rows) checkPresence(tables)
  return { chunks: found, bytes: joined(values), damaged }
}

function withLength({ value, ...chunk }: Chunk, values: Buffer[]): BytelessChunk {
  values.push(value)
  return { ...chunk, length: value.length }
}

/** LMDB finds nothing at all between a transaction that failed and its beginning anew. */
function checkPresence({ root }: MessageTables): void {
  if ([...root.getKeys({ limit: 1 })].length === 0) throw new Error("not even its tables are there")
}

/** Where the reference went meanwhile, nothing is damaged. */
function bodyOf(tables: MessageTables, { place, checksum }: Question & { kind: "body" }): Pick<Answer, "bytes" | "damaged"> {
  const [log, last, body] = place
  const key = idKey(body)
  const row = tables.bodies.get(key)
  const bytes = row && checksumOf(row) === checksum ? checked("bodies", key, row) : undefined
  if (bytes) return { bytes: joined([bytes]), damaged: [] }
  if (!row) checkPresence(tables)
  return { bytes: joined([]), damaged: tables.references.get(referenceKey(log, last, body)) ? [last] : [] }
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

function rowsOf(tables: MessageTables, { table, cuts, limit }: Question & { kind: "rows" }): Pick<Answer, "rows" | "sharers"> {
  const rows: RowPlace[] = []
  for (const [log, below] of cuts) {
    const range = { start: logKey(log, 0), end: logKey(log, below), limit: limit - rows.length }
    for (const key of tables[table].getKeys(range)) rows.push([log, readUint64(key, 8), key.length > 16 ? readUint64(key, 16) : 0])
    if (rows.length === limit) break
  }
  const sharers: Answer["sharers"] = []
  for (const body of new Set(rows.map((row) => row[2]))) {
    const references = body ? sharersOf(idKey(body), tables.sharers.get(idKey(body))) : undefined
    if (references !== undefined) sharers.push([body, references])
  }
  return { rows, sharers }
}
