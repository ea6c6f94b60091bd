import { Worker } from "node:worker_threads"
import type { HashAnswer, HashJob } from "./hash-worker.js"
import type { PasswordHash } from "./password-hash.js"

/** At a time, whatever the number of processors: the others have messages to deliver. */
const MOST_THREADS = 2
/** After this long without work a thread ends, in ms. */
const IDLE_MS = 30_000
const MOST_WAITING = 10_000
const MOST_WAITING_BYTES = 16 << 20

/** How a {@link Hasher} may be different. */
export interface HasherOptions {
  /** Told why a hash could not be computed: the password then counts as wrong. */
  readonly failed?: (problem: string) => void
  readonly idleMs?: number
  /** the file of the thread's program */
  readonly program?: URL
}

interface Waiting extends HashJob {
  readonly done: (right: boolean) => void
}

/**
 * Compares passwords with hashes in threads of its own: libuv's are the store's, and a commit must not wait for a hash. The threads
 * are there while there is work, and do not keep the process alive.
 */
export class Hasher {
  private readonly threads = new Set<Thread>()
  private readonly waiting: Waiting[] = []
  private waitingBytes = 0

  constructor(private readonly options: HasherOptions = {}) {}

  /** True when so many passwords wait that no further one is looked at. */
  get busy(): boolean {
    return this.waiting.length >= MOST_WAITING || this.waitingBytes >= MOST_WAITING_BYTES
  }

  /** How many threads there are. */
  get threadCount(): number {
    return this.threads.size
  }

  /** Whether the password is that of the hash; false at once when {@link busy}. Never rejects. */
  check(hash: PasswordHash, password: Uint8Array): Promise<boolean> {
    if (this.busy) return Promise.resolve(false)
    return new Promise((done) => {
      // copied: it may be a part of a packet, which the thread would be sent whole
      this.waiting.push({ hash, password: new Uint8Array(password), done })
      this.waitingBytes += password.length
      this.assign()
    })
  }

  private assign(): void {
    const thread = this.waiting.length > 0 ? this.freeThread() : undefined
    const next = thread && this.waiting.shift()
    if (!next) return
    this.waitingBytes -= next.password.length
    thread.run(next)
  }

  private freeThread(): Thread | undefined {
    for (const thread of this.threads) if (thread.free) return thread
    if (this.threads.size >= MOST_THREADS) return undefined
    const { program = new URL("./hash-worker.js", import.meta.url), idleMs = IDLE_MS } = this.options
    const thread = new Thread(new Worker(program, { execArgv: [] }), idleMs, {
      answered: () => this.assign(),
      failed: (problem) => this.options.failed?.(problem),
      ended: () => {
        this.threads.delete(thread)
        this.assign()
      },
    })
    this.threads.add(thread)
    return thread
  }
}

interface ThreadEvents {
  answered(): void
  failed(problem: string): void
  ended(): void
}

/** One thread with what it computes. */
class Thread {
  private current: Waiting | undefined
  private over = false
  private timer: NodeJS.Timeout | undefined

  constructor(
    private readonly worker: Worker,
    private readonly idleMs: number,
    private readonly events: ThreadEvents,
  ) {
    worker.on("message", (answer: HashAnswer) => {
      if ("failed" in answer) events.failed(answer.failed)
      this.finish("right" in answer && answer.right)
      events.answered()
    })
    worker.on("error", (error) => events.failed(error.message))
    worker.on("exit", () => this.end())
    worker.unref() // the listeners hold the process again
  }

  get free(): boolean {
    return !this.over && this.current === undefined
  }

  run(job: Waiting): void {
    clearTimeout(this.timer)
    this.current = job
    const { hash, password } = job
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, no window
    this.worker.postMessage({ hash, password } satisfies HashJob)
  }

  private finish(right: boolean): void {
    const { current } = this
    this.current = undefined
    this.timer = setTimeout(() => this.retire(), this.idleMs).unref()
    current?.done(right)
  }

  private retire(): void {
    this.over = true
    void this.worker.terminate() // "exit" says when
  }

  private end(): void {
    this.over = true
    this.finish(false)
    clearTimeout(this.timer)
    this.events.ended()
  }
}
