import { type Mosquitto, RunningProcess, startMosquitto, type TestBroker, waitFor } from "@mqtt-trio/testing"
import { publishNumbers } from "./messages.js"

/** Somebody who speaks MQTT on a port of this machine. */
interface End {
  readonly port: number
}

/** A mosquitto_sub that has subscribed to everything, and what it was sent. */
export class Watcher {
  private constructor(private readonly running: RunningProcess) {}

  static async at({ port }: End, filter = "#"): Promise<Watcher> {
    const args = ["-oL", "mosquitto_sub", "-d", "-h", "127.0.0.1", "-p", String(port), "-q", "2", "-t", filter, "-F", "|%t q%q r%r %p"]
    const watcher = new Watcher(new RunningProcess("stdbuf", args))
    await watcher.running.waitForLine(/^Subscribed/)
    return watcher
  }

  /** Topic, QoS, RETAIN and payload of each message. */
  get messages(): string[] {
    return this.running.stdout.split("\n").flatMap((line) => (line.startsWith("|") ? [line.slice(1)] : []))
  }

  /** Resolves when it was sent a message with this topic and payload. */
  async saw(topic: string, payload: string): Promise<void> {
    const isIt = (message: string): boolean => message.startsWith(`${topic} `) && message.endsWith(` ${payload}`)
    await waitFor(() => this.messages.some(isIt), { what: `${topic} ${payload} among ${this.messages.join("; ")}` })
  }
}

/** The mosquitto that Debian has, as a bridge to `brokers`, one connection each. Resolves when each has answered its SUBSCRIBE or UNSUBSCRIBE. */
export async function startBridge(brokers: readonly TestBroker[], settings: readonly string[]): Promise<Mosquitto> {
  const connections = brokers.flatMap(({ port }, n) => [`connection c${n}`, `address 127.0.0.1:${port}`, ...settings])
  const before = brokers.map(answered)
  const mosquitto = await startMosquitto(["allow_anonymous true", "persistence true", "persistence_location {dir}/", ...connections])
  await Promise.all(
    brokers.map((broker, n) =>
      waitFor(() => answered(broker) > (before[n] ?? 0), { what: `the bridge, among ${broker.stderr}`, timeoutMs: 20_000 }),
    ),
  )
  return mosquitto
}

/** How many bridges a broker that logs packets has answered. */
function answered({ stderr }: TestBroker): number {
  return [...stderr.matchAll(/"packet":"(suback|unsuback)"/g)].length
}

/** How often a client has connected whose identifier ends like this. */
export function connects({ stderr }: TestBroker, suffix: string): number {
  return stderr.split("\n").filter((line) => line.includes('"event":"connected"') && line.includes(`${suffix}"`)).length
}

/** Messages at each QoS, with and without RETAIN, from one side. */
export async function publishAll({ port }: End, from: string): Promise<void> {
  for (const qos of [0, 1, 2] as const) {
    await publishNumbers(port, { topic: `${from}/${qos}`, qos, from: 1, to: 3 })
    await publishNumbers(port, { topic: `${from}/${qos}/kept`, qos, from: 1, to: 2, retain: true })
  }
}

/** What of publishAll() a subscriber is sent as it is published, behind a bridge with QoS `cap`. */
export function allOf(from: string, cap: number): string[] {
  return [0, 1, 2].flatMap((published) => {
    const flags = `q${Math.min(published, cap)} r0`
    return [...[1, 2, 3].map((n) => `${from}/${published} ${flags} ${n}`), ...[1, 2].map((n) => `${from}/${published}/kept ${flags} ${n}`)]
  })
}

/** What of publishAll() is retained behind such a bridge. */
export function keptOf(from: string, cap: number): string[] {
  return [0, 1, 2].map((published) => `${from}/${published}/kept q${Math.min(published, cap)} r1 2`)
}

/**
 * Resolves when whatever one end had to pass on to the other has arrived: a message at each QoS goes the same way behind
 * it. `to`: who is sent it.
 */
export async function passed({ port }: End, name: string, to: readonly Watcher[]): Promise<void> {
  for (const qos of [0, 1, 2] as const) {
    await publishNumbers(port, { topic: `end/${name}/${qos}`, qos, from: 1, to: 1 })
    for (const watcher of to) await watcher.saw(`end/${name}/${qos}`, "1")
  }
}

/** What is retained at an end. */
export async function keptAt(end: End): Promise<string[]> {
  const watcher = await Watcher.at(end)
  await passed(end, "kept", [watcher])
  return watcher.messages.filter((message) => message.includes(" r1 ")).toSorted(byText)
}

export function byText(a: string, b: string): number {
  return a < b ? -1 : 1
}
