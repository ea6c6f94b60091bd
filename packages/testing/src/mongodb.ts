import { spawnSync } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { homedir } from "node:os"
import { join } from "node:path"
import type { Certificates } from "./certificates.js"
import { freePort } from "./free-port.js"
import { canConnect } from "./mosquitto.js"
import { RunningProcess } from "./running-process.js"
import { randomId, temporaryFolder } from "./temporary.js"
import { waitFor } from "./wait-for.js"

/** What `ferretdb --version` of `ferretdb/build.sh` says; FerretDB as it comes lets two updates of one document both win. */
const VERSION = "version: v1.24.2-one-writer"

/**
 * A server that speaks MongoDB: FerretDB with SQLite, which has a write on the disk when it acknowledges it. What MongoDB
 * can do beyond that (transactions, change streams, w: 0) it cannot.
 */
export interface MongoServer {
  /** Ends in the name of a database that no other call gets. */
  readonly url: string
  readonly port: number
  readonly pid: number
  kill9(): Promise<void>
  stop(): Promise<void>
  /** Stops it without ending it (SIGSTOP); resolves when nobody answers any more. Connections stay open. */
  pause(): Promise<void>
  /** Lets it go on after `pause`. */
  resume(): void
  /** Starts it again on the same port with the same data, after `kill9` or `stop`. */
  restart(): Promise<void>
}

/**
 * True when there is a MongoDB server for tests: the one that MQTT_TEST_MONGODB names, or one that can be started. Throws
 * when it is missing and CI is set: there a skipped test must not pass for a green one.
 */
export function hasMongoServer(): boolean {
  const found = givenUrl() !== undefined || command() !== undefined
  if (!found && (process.env["CI"] ?? "") !== "") throw new Error("packages/testing/ferretdb/build.sh must have run on CI")
  return found
}

/** A server that takes connections with TLS alone, of one user, whom its database `admin` knows. */
export interface SecureServer {
  readonly certificates: Certificates
  readonly username: string
  readonly password: string
}

/**
 * Starts a MongoDB server on a free loopback port, or the given one. With MQTT_TEST_MONGODB=mongodb://… it is that server
 * instead, which nobody can kill, pause or start again; the databases of the tests stay in it.
 */
export async function startMongoServer(options: { readonly port?: number; readonly secure?: SecureServer } = {}): Promise<MongoServer> {
  const given = givenUrl()
  return given === undefined ? ownServer(options.port ?? (await freePort()), options.secure) : givenServer(given)
}

/** The server of `startMongoServer` for who starts and kills it by a command line of his own, and the URL of a database in it. */
export async function mongoServerCommand(): Promise<{ command: string; url: string }> {
  const port = await freePort()
  const words = [neededCommand(), ...settings(port, temporaryFolder())]
  return { command: words.map((word) => `'${word}'`).join(" "), url: urlOf(port) }
}

async function ownServer(port: number, secure: SecureServer | undefined): Promise<MongoServer> {
  const ferretdb = neededCommand()
  const args = settings(port, temporaryFolder(), secure)
  const launch = async (): Promise<RunningProcess> => {
    const started = new RunningProcess(ferretdb, args)
    const listens = (): Promise<boolean> => {
      if (!started.running) throw new Error(`ferretdb ended at once\n${started.stderr}`)
      return canConnect(port)
    }
    await waitFor(listens, { timeoutMs: 30_000, what: `ferretdb on port ${port}` })
    return started
  }
  let running = await launch()
  const resume = (): void => void running.child.kill("SIGCONT")
  return {
    url: urlOf(port, secure),
    port,
    get pid() {
      return running.pid
    },
    kill9: () => running.kill9(),
    stop: async () => {
      resume()
      await running.stop()
    },
    pause: async () => {
      running.child.kill("SIGSTOP")
      await waitFor(() => stands(running.pid), { what: "the server to stand still" })
    },
    resume,
    restart: async () => {
      running = await launch()
    },
  }
}

/** Whether all threads of a process are stopped: each of them stops by itself. */
function stands(pid: number): boolean {
  const threads = readdirSync(`/proc/${pid}/task`).map((id) => readFileSync(`/proc/${pid}/task/${id}/stat`, "utf8"))
  return threads.every((stat) => stat.slice(stat.lastIndexOf(")")).startsWith(") T"))
}

function urlOf(port: number, secure?: SecureServer): string {
  if (!secure) return `mongodb://127.0.0.1:${port}/${randomId()}`
  const { username, password, certificates } = secure
  return `mongodb://${username}:${password}@127.0.0.1:${port}/${randomId()}?authSource=admin&tls=true&tlsCAFile=${certificates.ca}`
}

function settings(port: number, dir: string, secure?: SecureServer): string[] {
  return [
    "--handler=sqlite",
    `--sqlite-url=file:${dir}/?_pragma=synchronous(full)`,
    ...(secure ? doorOf(port, secure) : [`--listen-addr=127.0.0.1:${port}`]),
    `--state-dir=${dir}`,
    "--telemetry=disable",
    "--debug-addr=-",
    "--log-level=warn",
  ]
}

function doorOf(port: number, { certificates, username, password }: SecureServer): string[] {
  return [
    "--listen-addr=",
    `--listen-tls=127.0.0.1:${port}`,
    `--listen-tls-cert-file=${certificates.serverCert}`,
    `--listen-tls-key-file=${certificates.serverKey}`,
    "--test-enable-new-auth",
    "--setup-database=admin",
    `--setup-username=${username}`,
    `--setup-password=${password}`,
  ]
}

function givenServer(given: string): MongoServer {
  const [, server, hosts, query = ""] = /^(mongodb(?:\+srv)?:\/\/(?:[^@/?]*@)?([^/?]+))(?:\/[^?]*)?(\?.*)?$/.exec(given) ?? []
  if (server === undefined || hosts === undefined) throw new Error(`MQTT_TEST_MONGODB must be mongodb://…, not "${given}"`)
  return {
    url: `${server}/${randomId()}${query}`,
    port: Number(/:(\d+)$/.exec(hosts)?.[1] ?? 27_017),
    get pid() {
      return refuse()
    },
    kill9: async () => refuse(),
    stop: async () => refuse(),
    pause: async () => refuse(),
    resume: refuse,
    restart: async () => refuse(),
  }
}

function refuse(): never {
  throw new Error("tests of failures need their own server: leave MQTT_TEST_MONGODB out")
}

function givenUrl(): string | undefined {
  const url = process.env["MQTT_TEST_MONGODB"] ?? ""
  return url === "" ? undefined : url
}

/** `ferretdb` in the folder MQTT_TEST_FERRETDB_DIR or ~/.cache/mqtt-trio-tests/ferretdb, where build.sh puts it, else in PATH. */
function command(): string | undefined {
  const named = process.env["MQTT_TEST_FERRETDB_DIR"] ?? ""
  const folder = named === "" ? join(homedir(), ".cache/mqtt-trio-tests/ferretdb") : named
  return [join(folder, "ferretdb"), "ferretdb"].find(isOurs)
}

function neededCommand(): string {
  const found = command()
  if (found === undefined) throw new Error("no MongoDB server to start: run packages/testing/ferretdb/build.sh")
  return found
}

function isOurs(program: string): boolean {
  const { error, stdout } = spawnSync(program, ["--version"], { encoding: "utf8" })
  return error === undefined && stdout.split("\n")[0] === VERSION
}
