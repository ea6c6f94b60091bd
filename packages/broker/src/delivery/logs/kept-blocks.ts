import type { Frames } from "../../wire/frames.js"

/** The blocks from the store that the readers of one Session keep: what several of them have counts once. */
export class KeptBlocks {
  private readonly blocks = new Map<Buffer, { readers: number; readonly bytes: number }>()

  /** @param count told how many bytes of memory they take more, or less */
  constructor(private readonly count: (bytes: number) => void) {}

  add({ buf, receivers }: Frames): void {
    const known = this.blocks.get(buf)
    if (known) {
      known.readers++
      return
    }
    const bytes = Math.ceil(buf.length / receivers)
    this.blocks.set(buf, { readers: 1, bytes })
    this.count(bytes)
  }

  remove({ buf }: Frames): void {
    const known = this.blocks.get(buf)
    if (!known || --known.readers > 0) return
    this.blocks.delete(buf)
    this.count(-known.bytes)
  }
}
