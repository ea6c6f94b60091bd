import { Worker } from "node:worker_threads"
import type { Answer, Question } from "./read-worker.js"

/**
 * Reads the tables in a thread of its own: what is not in the page cache stops only it. The thread is there from the first
 * question on, and does not keep the process alive.
 */
export class ReadThread {
  private worker: Worker | undefined = undefined
  private readonly waiting = new Map<number, { done: (answer: Answer) => void; failed: (error: Error) => void }>()
  private next = 1

  /** @param program the file of the thread's program */
  constructor(
    private readonly file: string,
    private readonly program = new URL("./read-worker.js", import.meta.url),
  ) {}

  /** Rejects when nothing can be read now. */
  async ask(question: Question): Promise<Answer> {
    const id = this.next++
    this.worker ??= this.start()
    const answer = await new Promise<Answer>((done, failed) => {
      this.waiting.set(id, { done, failed })
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, no window
      this.worker?.postMessage({ id, question })
    })
    if (answer.failed !== undefined) throw new Error(answer.failed)
    return answer
  }

  private start(): Worker {
    const worker = new Worker(this.program, { workerData: this.file, execArgv: [] })
    worker.unref()
    worker.on("message", ({ id, answer }: { id: number; answer: Answer }) => {
      this.waiting.get(id)?.done(answer)
      this.waiting.delete(id)
    })
    worker.on("error", (error) => {
      this.worker = undefined
      for (const { failed } of this.waiting.values()) failed(error)
      this.waiting.clear()
    })
    return worker
  }

  /** Lets go of the file; the next question opens it again. */
  async release(): Promise<void> {
    if (this.worker) await this.ask({ kind: "close" })
  }

  async close(): Promise<void> {
    await this.release()
    await this.worker?.terminate()
    this.worker = undefined
  }
}
