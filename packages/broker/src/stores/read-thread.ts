import { Worker } from "node:worker_threads"
import type { Answer, Answered, Asked, Question } from "./read-worker.js"

/**
 * Reads the tables in a thread of its own: what is not in the page cache stops only it. The thread is there from the first
 * question on, and does not keep the process alive.
 */
export class ReadThread {
  private worker: Worker | undefined = undefined
  private readonly waiting = new Map<number, { done: (answer: Answer) => void; failed: (error: Error) => void }>()
  /** asked in this turn: thousands of readers ask at once */
  private asked: Asked[] = []
  private next = 1
  /** somebody needs the file without this thread */
  private busy: Promise<void> | undefined = undefined
  private closed = false

  /** @param program the file of the thread's program */
  constructor(
    private readonly file: string,
    private readonly program = new URL("./read-worker.js", import.meta.url),
  ) {}

  /** Rejects when nothing can be read now. After close() nobody answers any more. */
  async ask(question: Question): Promise<Answer> {
    while (this.busy) await this.busy // oxlint-disable-line no-await-in-loop -- until it is free again
    if (this.closed) await new Promise<never>(() => {})
    return this.answer(question)
  }

  private async answer(question: Question): Promise<Answer> {
    const id = this.next++
    this.worker ??= this.start()
    const answer = await new Promise<Answer>((done, failed) => {
      this.waiting.set(id, { done, failed })
      if (!this.asked.length) queueMicrotask(() => this.send())
      this.asked.push({ id, question })
    })
    if (answer.failed !== undefined) throw new Error(answer.failed)
    return answer
  }

  private send(): void {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, no window
    this.worker?.postMessage(this.asked)
    this.asked = []
  }

  private start(): Worker {
    const worker = new Worker(this.program, { workerData: this.file, execArgv: [] })
    worker.unref()
    worker.on("message", (answers: readonly Answered[]) => {
      for (const { id, answer } of answers) {
        this.waiting.get(id)?.done(answer)
        this.waiting.delete(id)
      }
    })
    worker.on("error", (error) => {
      this.worker = undefined
      for (const { failed } of this.waiting.values()) failed(error)
      this.waiting.clear()
    })
    return worker
  }

  /** Lets go of the file while something is done with it; questions wait meanwhile. */
  async without(work: () => Promise<unknown>): Promise<void> {
    while (this.busy) await this.busy // oxlint-disable-line no-await-in-loop -- one behind the other
    const done = this.end().then(work)
    const free = (): void => {
      this.busy = undefined
    }
    this.busy = done.then(free, free)
    await done
  }

  /** The thread answers this last, and is idle then: ending one that works would not be safe. What it has open goes with it. */
  private async end(): Promise<void> {
    const { worker } = this
    if (!worker) return
    await this.answer({ kind: "close" }).catch(() => {})
    this.worker = undefined
    await worker.terminate()
  }

  async close(): Promise<void> {
    await this.without(async () => {
      this.closed = true
    })
  }
}
