import { execFileSync, spawnSync } from "node:child_process"
import { writeFileSync } from "node:fs"
import { connect } from "node:net"
import { join } from "node:path"
import { freePort } from "./free-port.js"
import { RunningProcess } from "./running-process.js"
import { temporaryFolder } from "./temporary.js"
import { waitFor } from "./wait-for.js"

/** Debian's mosquitto, the second real broker of the tests. */
export interface Mosquitto {
  readonly port: number
  readonly url: string
  readonly dir: string
  readonly pid: number
  kill9(): Promise<void>
  stop(): Promise<void>
  /** Starts it again with the same configuration on the same port. */
  restart(): Promise<void>
}

/** True when mosquitto is installed. Throws when it is missing and CI is set: there a skipped test must not pass for a green one. */
export function hasMosquitto(): boolean {
  const found = spawnSync("mosquitto", ["-h"]).error === undefined && spawnSync("mosquitto_sub", ["--help"]).error === undefined
  if (!found && (process.env["CI"] ?? "") !== "") throw new Error("mosquitto and mosquitto-clients must be installed on CI")
  return found
}

/** Starts mosquitto on a free loopback port; `config` is added to its configuration, `{dir}` and `{port}` are replaced. */
export async function startMosquitto(config: readonly string[] = ["allow_anonymous true"]): Promise<Mosquitto> {
  const dir = temporaryFolder()
  const port = await freePort()
  // Started by root it would become another user, who cannot read our folders.
  const first = ["user root", ...config.filter((line) => line.startsWith("per_listener_settings"))]
  const rest = config.filter((line) => !line.startsWith("per_listener_settings"))
  const lines = [...first, `listener ${port} 127.0.0.1`, ...rest].join("\n").replaceAll("{dir}", dir).replaceAll("{port}", String(port))
  const file = join(dir, "mosquitto.conf")
  writeFileSync(file, `${lines}\n`)
  const launch = async (): Promise<RunningProcess> => {
    const started = new RunningProcess("mosquitto", ["-c", file])
    const listens = (): Promise<boolean> => {
      if (!started.running) throw new Error(`mosquitto ended at once\n${started.stderr}`)
      return canConnect(port)
    }
    await waitFor(listens, { timeoutMs: 30_000, what: `mosquitto on port ${port}` })
    return started
  }
  let running = await launch()
  return {
    port,
    url: `mqtt://127.0.0.1:${port}`,
    dir,
    get pid() {
      return running.pid
    },
    kill9: () => running.kill9(),
    stop: async () => void (await running.stop()),
    restart: async () => {
      running = await launch()
    },
  }
}

/** True when somebody accepts TCP connections on a port of 127.0.0.1. */
export function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1")
    socket.once("connect", () => {
      socket.destroy()
      resolve(true)
    })
    socket.once("error", () => resolve(false))
  })
}

/** Version of the mosquitto in PATH, `undefined` when there is none. */
export function mosquittoVersion(): string | undefined {
  try {
    const help = execFileSync("mosquitto", ["-h"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] })
    return /version (\S+)/.exec(help)?.[1]
  } catch (error) {
    // `mosquitto -h` prints its help and exits with 1 or 3, depending on the version.
    const output = error instanceof Error && "stdout" in error ? String(error.stdout) : ""
    return /version (\S+)/.exec(output)?.[1]
  }
}
