import { writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Certificates } from "./certificates.js"
import { spawnCli } from "./cli.js"
import { ExtraDoors } from "./extra-doors.js"
import { freePort } from "./free-port.js"
import type { ProcessEnd, RunningProcess } from "./running-process.js"
import { temporaryFolder } from "./temporary.js"
import { passwordFile } from "./users.js"

export interface BrokerOptions {
  /** The store's URL. Default: `file:` in the broker's folder. */
  readonly store?: string
  /** Further arguments of `mqtt-broker start`. */
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** The folder to work in. Default: a new temporary one. */
  readonly dir?: string
  /** Listens with TLS too, with a certificate that is made for it: {@link TestBroker.tls}. */
  readonly tls?: boolean
  /** Passwords by user name, in `DIR/users`: nobody else is let in. */
  readonly users?: Readonly<Record<string, string | Buffer>>
  /** Rights in the words of mosquitto's ACL file, in `DIR/acl`. */
  readonly acl?: string
}

/** A listener with TLS, and the files for its clients. */
export interface TlsListener {
  /** `mqtts://127.0.0.1:PORT` */
  readonly url: string
  readonly port: number
  readonly certificates: Certificates
}

/** A real `mqtt-broker start` on a free port. */
export interface TestBroker {
  readonly port: number
  readonly url: string
  /** Where it listens: `url`, then what `--listen` said. */
  readonly urls: readonly string[]
  /** Its listener with TLS, for a broker that was started with `tls`. */
  readonly tls: TlsListener | undefined
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
  /** Starts it again on the same store and the same ports; resolves when it is ready. */
  restart(): Promise<void>
}

/** One that listens with TLS too. */
export interface SecureTestBroker extends TestBroker {
  readonly tls: TlsListener
}

/** Starts the broker and resolves when it has printed its ready line. */
export function startBroker(options: BrokerOptions & { tls: true }): Promise<SecureTestBroker>
export function startBroker(options?: BrokerOptions): Promise<TestBroker>
export async function startBroker(options: BrokerOptions = {}): Promise<TestBroker> {
  const dir = options.dir ?? temporaryFolder()
  const doors = await ExtraDoors.choose(options.tls ?? false)
  const fixed = ["--store", options.store ?? `file:${join(dir, "store")}`, "--json", ...accessArguments(dir, options)]
  const launch = (wantedPort: number): RunningProcess => {
    const args = ["start", "--port", String(wantedPort), ...fixed, ...(options.args ?? []), ...doors.args]
    return spawnCli("mqtt-broker", args, { env: options.env ?? {}, cwd: dir })
  }
  const ready = async (): Promise<Ready> => {
    const found = readReady(await running.waitForLine('"event":"ready"'))
    tlsUrl = doors.opened(found.port, found.urls)
    return found
  }
  let tlsUrl: string | undefined
  let running = launch(await freePort())
  let { port, urls } = await ready()
  return {
    port,
    url: `mqtt://127.0.0.1:${port}`,
    get urls() {
      return urls
    },
    get tls() {
      return tlsListener(tlsUrl, doors)
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
      running = launch(port)
      ;({ port, urls } = await ready())
    },
  }
}

/** Writes the files of users and rights and returns the options that name them. */
function accessArguments(dir: string, { users, acl }: BrokerOptions): string[] {
  const written = (name: string, text: string): string => {
    writeFileSync(join(dir, name), text, { mode: 0o600 })
    return join(dir, name)
  }
  return [
    ...(users ? ["--password-file", written("users", passwordFile(users))] : []),
    ...(acl === undefined ? [] : ["--acl-file", written("acl", acl)]),
  ]
}

function tlsListener(url: string | undefined, { certificates }: ExtraDoors): TlsListener | undefined {
  if (url === undefined || !certificates) return undefined
  return { url, port: Number(new URL(url).port), certificates }
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
