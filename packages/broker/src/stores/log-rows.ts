import type { MessageTables } from "./environment.js"
import { logKey, readUint64 } from "./keys.js"

/** A row of a log: a chunk, or a reference. */
export interface LogRow {
  table: "chunks" | "references"
  /** begins with the log and the position of its last message */
  key: Buffer
  value: Buffer
}

/** The rows of logs from a position of the first one on, below a log, in order: both tables as one. */
export function* logRows(
  tables: Pick<MessageTables, "chunks" | "references">,
  from: readonly [number, number],
  below: number,
): Generator<LogRow> {
  const range = { start: logKey(...from), end: logKey(below, 0) }
  const chunks = tables.chunks.getRange(range)[Symbol.iterator]()
  const references = tables.references.getRange(range)[Symbol.iterator]()
  try {
    let chunk = chunks.next()
    let reference = references.next()
    while (chunk.done !== true || reference.done !== true) {
      const isChunk = reference.done === true || (chunk.done !== true && Buffer.compare(chunk.value.key, reference.value.key) < 0)
      if (isChunk && chunk.done !== true) {
        yield { table: "chunks", ...chunk.value }
        chunk = chunks.next()
      } else if (reference.done !== true) {
        yield { table: "references", ...reference.value }
        reference = references.next()
      }
    }
  } finally {
    chunks.return?.()
    references.return?.()
  }
}

/** The last row that each log has in a table, found by jumping from log to log. */
export function* lastRows(tables: Pick<MessageTables, "chunks" | "references">, name: LogRow["table"]): Generator<LogRow> {
  const table = tables[name]
  for (let from = 0; ;) {
    const [key] = table.getKeys({ start: logKey(from, 0), limit: 1 })
    if (!key) return
    const log = readUint64(key, 0)
    const [row] = table.getRange({ start: logKey(log + 1, 0), end: logKey(log, 0), reverse: true, limit: 1 })
    if (row) yield { table: name, ...row }
    from = log + 1
  }
}
