import type { Tally } from "../accounting/tally.js"
import type { ByteSink } from "./byte-stream.js"

const SMALL_BUFFER_BYTES = 1024
const BUFFER_BYTES = 65_536
const SPARE_BUFFERS = 64
/** From this size on, bytes are sent where they lie instead of copied. */
const REFERENCED_BYTES = 8192

/** From so many unsent bytes on they are counted: more than a stream takes without 'drain' to follow. */
const COUNTED_FROM_BYTES = 65_536

/** How long it is written in one turn of the event loop, in ms: to thousands at once it goes on in the next. */
const FLUSH_MS = 15
/** The same where so many bytes or more are written at once. */
const LARGE_FLUSH_MS = 5
const LARGE_FLUSH_BYTES = 65_536

const spare: Buffer[] = []
const dirty: Output[] = []
let scheduled = false

/**
 * What one connection sends. Everything of one turn of the event loop leaves in one write: messages are copied
 * straight into a buffer, large pieces travel as they are.
 */
export class Output {
  /** where the last claim() lies */
  buffer: Buffer = NO_BYTES
  private used = 0
  private pieces: Buffer[] = []
  private piecesBytes = 0
  private queued = false

  /** of what is unsent, so much counts for others */
  private shared = 0
  /** what the tally has of what is unsent */
  private counted = 0

  constructor(
    private readonly sink: ByteSink,
    private readonly tally: Tally,
  ) {}

  /** Counts what is unsent; to be called when some of it was sent, too. */
  count(): void {
    const { unsent } = this
    if (unsent < COUNTED_FROM_BYTES) this.shared = 0
    const bytes = unsent < COUNTED_FROM_BYTES ? 0 : Math.max(COUNTED_FROM_BYTES, unsent - this.shared)
    if (bytes === this.counted) return
    this.tally.add("unsent", bytes - this.counted)
    this.counted = bytes
  }

  /** The connection is closed: nothing is sent any more. */
  close(): void {
    this.pieces = []
    this.used = this.piecesBytes = 0
    this.buffer = NO_BYTES
    this.tally.add("unsent", -this.counted)
    this.counted = 0
  }

  /** Bytes that the operating system has not taken yet. */
  get unsent(): number {
    return this.used + this.piecesBytes + this.sink.writableLength
  }

  /** Writing what waits takes long: the operating system copies it. */
  get isLarge(): boolean {
    return this.used + this.piecesBytes >= LARGE_FLUSH_BYTES
  }

  /** Room for `size` bytes in `buffer`, to be written at the returned offset before anything else happens. */
  claim(size: number): number {
    if (this.used + size > this.buffer.length) this.grow(size)
    if (!this.queued) this.enqueue()
    const at = this.used
    this.used += size
    return at
  }

  /** Bytes that must not change any more. `sharers`: how many are sent the same Buffer. */
  push(bytes: Buffer, sharers = 1): void {
    if (sharers > 1) this.shared += Math.floor(bytes.length - bytes.length / sharers)
    if (bytes.length < REFERENCED_BYTES) {
      const at = this.claim(bytes.length)
      bytes.copy(this.buffer, at)
      return
    }
    this.seal()
    this.pieces.push(bytes)
    this.piecesBytes += bytes.length
    if (!this.queued) this.enqueue()
  }

  /** Sends now what would leave at the end of this turn. */
  flush(): void {
    this.queued = false
    const { sink, buffer, used, pieces } = this
    this.used = 0
    this.buffer = NO_BYTES
    if (!sink.writable) {
      this.pieces = []
      this.piecesBytes = 0
      return this.count()
    }
    if (pieces.length) {
      this.pieces = []
      this.piecesBytes = 0
      sink.cork()
      for (const piece of pieces) sink.write(piece)
      if (used) sink.write(buffer.subarray(0, used))
      sink.uncork()
    } else if (used) sink.write(buffer.subarray(0, used))
    this.count()
    // nothing is left in the stream: the buffer was copied by the operating system and can be used again
    if (buffer.length === BUFFER_BYTES && sink.writableLength === 0 && spare.length < SPARE_BUFFERS) spare.push(buffer)
  }

  private grow(size: number): void {
    const need = this.used + size
    if (need <= BUFFER_BYTES) {
      const buffer =
        need <= SMALL_BUFFER_BYTES ? Buffer.allocUnsafe(SMALL_BUFFER_BYTES) : (spare.pop() ?? Buffer.allocUnsafeSlow(BUFFER_BYTES))
      this.buffer.copy(buffer, 0, 0, this.used)
      this.buffer = buffer
      return
    }
    this.seal()
    this.buffer = size <= BUFFER_BYTES ? (spare.pop() ?? Buffer.allocUnsafeSlow(BUFFER_BYTES)) : Buffer.allocUnsafeSlow(size)
  }

  private seal(): void {
    if (this.used) {
      this.pieces.push(this.buffer.subarray(0, this.used))
      this.piecesBytes += this.used
    }
    this.buffer = NO_BYTES
    this.used = 0
  }

  private enqueue(): void {
    this.queued = true
    dirty.push(this)
    if (scheduled) return
    scheduled = true
    setImmediate(flushAll)
  }
}

/** Who is sent much waits for who is sent little, and goes on in the next turn when this one had enough. */
function flushAll(): void {
  const start = performance.now()
  for (const output of dirty.splice(0)) {
    const most = output.isLarge ? LARGE_FLUSH_MS : FLUSH_MS
    if (performance.now() - start > most) dirty.push(output)
    else output.flush()
  }
  scheduled = dirty.length > 0
  if (scheduled) setImmediate(flushAll)
}

const NO_BYTES = Buffer.alloc(0)
