const LINE_FEED = 0x0a

/**
 * Splits bytes at line feeds, NUL and everything else kept as it is. The last line needs no line feed; an empty one is a line.
 * What it yields is valid until the next one is asked for, and may share memory with the chunk.
 */
export async function* splitLines(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer[], void> {
  let open: Buffer[] = []
  for await (const chunk of chunks) {
    const lines: Buffer[] = []
    let start = 0
    for (let end = chunk.indexOf(LINE_FEED); end !== -1; end = chunk.indexOf(LINE_FEED, start)) {
      const tail = chunk.subarray(start, end)
      lines.push(open.length === 0 ? tail : Buffer.concat([...open, tail]))
      open = []
      start = end + 1
    }
    if (start < chunk.length) open.push(chunk.subarray(start))
    if (lines.length > 0) yield lines
  }
  if (open.length > 0) yield [Buffer.concat(open)]
}
