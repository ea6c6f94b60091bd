import { fileURLToPath } from "node:url"
import { RunningProcess, type ProcessEnd, type ProcessOptions } from "./running-process.js"

/** The commands of this project, by the name of their launcher. */
export type CliName = "mqtt-broker" | "mqtt-pub" | "mqtt-sub"

const LAUNCHERS = {
  "mqtt-broker": "broker/bin/mqtt-broker.js",
  "mqtt-pub": "pub/bin/mqtt-pub.cjs",
  "mqtt-sub": "sub/bin/mqtt-sub.cjs",
} satisfies Record<CliName, string>

export interface RunOptions extends ProcessOptions {
  /** Everything that the process reads from stdin. Default: nothing. */
  readonly stdin?: string | Uint8Array
  /** Default 30,000. */
  readonly timeoutMs?: number
}

export interface RunResult extends ProcessEnd {
  readonly stdout: string
  readonly stderr: string
  readonly stdoutBytes: Buffer
}

/** The path of a command's launcher, to be run with `node`; MQTT_TEST_BROKER names another one of the broker. */
export function cliPath(name: CliName): string {
  const broker = process.env["MQTT_TEST_BROKER"]
  if (name === "mqtt-broker" && broker !== undefined) return broker
  return fileURLToPath(new URL(`../../${LAUNCHERS[name]}`, import.meta.url))
}

/** Starts a command and leaves it running. */
export function spawnCli(name: CliName, args: readonly string[], options: ProcessOptions = {}): RunningProcess {
  return new RunningProcess(process.execPath, [cliPath(name), ...args], options)
}

/** Runs a command to its end. */
export async function runCli(name: CliName, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  return finish(spawnCli(name, args, options), options)
}

/** Runs any program to its end. */
export async function runProcess(command: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  return finish(new RunningProcess(command, args, options), options)
}

async function finish(running: RunningProcess, options: RunOptions): Promise<RunResult> {
  running.child.stdin.end(options.stdin ?? "")
  const end = await running.waitForEnd(options.timeoutMs)
  return { ...end, stdout: running.stdout, stderr: running.stderr, stdoutBytes: running.stdoutBytes }
}
