import { join } from "node:path"
import { spawnCli } from "./cli.js"
import type { ProcessEnd, RunningProcess } from "./running-process.js"
import { temporaryFolder } from "./temporary.js"

export interface BrokerOptions {
  /** The store's URL. Default: `file:` in the broker's folder. */
  readonly store?: string
  /** Further arguments of `mqtt-broker start`. */
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** The folder to work in. Default: a new temporary one. */
  readonly dir?: string
}

/** A real `mqtt-broker start` on a free port. */
export interface TestBroker {
  readonly port: number
  readonly url: string
  /** Where it listens: `url`, then what `--listen` said. */
  readonly urls: readonly string[]
  readonly dir: string
  readonly pid: number
  readonly stdout: string
  readonly stderr: string
  /** False when its process has ended. */
  readonly running: boolean
  /** Resolves when the process that runs now has ended. */
  readonly ended: Promise<ProcessEnd>
  /** Kills it with SIGKILL and resolves when it is gone. */
  kill9(): Promise<void>
  /** Ends it with SIGTERM; resolves with its exit code. */
  stop(): Promise<number | null>
  /** Starts it again on the same store and the same port; resolves when it is ready. */
  restart(): Promise<void>
}

/** Starts the broker and resolves when it has printed its ready line. */
export async function startBroker(options: BrokerOptions = {}): Promise<TestBroker> {
  const dir = options.dir ?? temporaryFolder()
  const store = options.store ?? `file:${join(dir, "store")}`
  const launch = async (wantedPort: number): Promise<[RunningProcess, Ready]> => {
    const args = ["start", "--port", String(wantedPort), "--store", store, "--json", ...(options.args ?? [])]
    const running = spawnCli("mqtt-broker", args, { env: options.env ?? {}, cwd: dir })
    return [running, readReady(await running.waitForLine('"event":"ready"'))]
  }
  let [running, { port, urls }] = await launch(0)
  return {
    port,
    url: `mqtt://127.0.0.1:${port}`,
    get urls() {
      return urls
    },
    dir,
    get pid() {
      return running.pid
    },
    get stdout() {
      return running.stdout
    },
    get stderr() {
      return running.stderr
    },
    get running() {
      return running.running
    },
    get ended() {
      return running.ended
    },
    kill9: () => running.kill9(),
    stop: async () => (await running.stop()).code,
    restart: async () => {
      ;[running, { port, urls }] = await launch(port)
    },
  }
}

interface Ready {
  readonly port: number
  readonly urls: readonly string[]
}

function readReady(line: string): Ready {
  const { port, listeners }: { port?: unknown; listeners?: { url: string }[] } = JSON.parse(line)
  if (typeof port !== "number") throw new Error(`the ready line has no port: ${line}`)
  return { port, urls: (listeners ?? []).map(({ url }) => url) }
}
