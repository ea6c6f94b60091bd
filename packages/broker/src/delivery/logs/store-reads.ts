import type { Maybe } from "../../stores/store.js"

/** So many reads of the store are under way at a time: what they bring counts for nobody until its Session has it. */
const MOST_READS = 64

/** Reads of the store, some at a time: thousands of Sessions, each with thousands of logs, may ask at once. */
export class StoreReads {
  private underWay = 0
  private readonly line: (() => void)[] = []

  /** Reads, now or when it is its turn. */
  run<T>(read: () => Maybe<T>): Maybe<T> {
    if (this.underWay < MOST_READS) return this.begin(read)
    return new Promise<void>((resolve) => this.line.push(resolve)).then(() => this.begin(read))
  }

  private begin<T>(read: () => Maybe<T>): Maybe<T> {
    this.underWay++
    const found = read()
    if (found instanceof Promise) return found.finally(() => this.end())
    this.end()
    return found
  }

  private end(): void {
    this.underWay--
    this.line.shift()?.()
  }
}
