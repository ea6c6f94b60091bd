import { join } from "node:path"
import { BaseError, runMain } from "@mqtt-trio/common"
import { checkNumbers } from "@mqtt-trio/torture"
import { cleanUp, runCli, spawnCli, startBroker, waitFor, type RunningProcess, type TestBroker } from "@mqtt-trio/testing"

/** `npm run demo`: messages for a subscriber that is away, over a broker that is killed. All processes are the real ones. */

const LIVE_MESSAGES = 5
const AWAY_MESSAGES = 20
const SUBSCRIBER_ARGUMENTS = ["test", "--client", "cli_sub", "--persistent"]

function say(who: string, what: string): void {
  process.stdout.write(`${who.padEnd(12)}${what}\n`)
}

function numbered(from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, n) => `Hello mqtt ${from + n}`)
}

/** The whole lines that a subscriber has printed. */
function printed(subscriber: RunningProcess): string[] {
  return subscriber.stdout.split("\n").slice(0, -1)
}

async function publish(broker: TestBroker, messages: readonly string[]): Promise<void> {
  const { code, stderr } = await runCli("mqtt-pub", ["test", "-l", "-p", String(broker.port)], { stdin: `${messages.join("\n")}\n` })
  if (code !== 0) throw new BaseError({ code: "demo", exitCode: 1, message: `mqtt-pub ended with ${code}: ${stderr}` })
}

/** How many messages wait, as `mqtt-broker queue` says. */
async function waiting(broker: TestBroker): Promise<number> {
  const store = `file:${join(broker.dir, "store")}`
  const { stdout } = await runCli("mqtt-broker", ["queue", "cli_sub", "--peek", "0", "--json", "--store", store])
  return Number(/"messages":(\d+)/.exec(stdout)?.[1])
}

async function subscribe(broker: TestBroker): Promise<RunningProcess> {
  const subscriber = spawnCli("mqtt-sub", [...SUBSCRIBER_ARGUMENTS, "-p", String(broker.port)])
  await subscriber.waitForLine("session", { stream: "stderr" })
  return subscriber
}

/** Everything that a subscriber prints until `count` messages came. Then it is stopped. */
async function take(subscriber: RunningProcess, count: number): Promise<string[]> {
  await waitFor(() => printed(subscriber).length >= count, { what: `${count} messages` }).catch(() => undefined)
  await subscriber.stop("SIGINT")
  return printed(subscriber)
}

async function story(): Promise<number> {
  const start = performance.now()
  const broker = await startBroker()
  say("broker", `mqtt-broker start: port ${broker.port}, data in ${broker.dir}`)
  await runCli("mqtt-sub", [...SUBSCRIBER_ARGUMENTS, "-E", "--quiet", "-p", String(broker.port)])
  const first = await subscribe(broker)
  say("subscriber", `mqtt-sub ${SUBSCRIBER_ARGUMENTS.join(" ")}`)
  await publish(broker, numbered(1, LIVE_MESSAGES))
  const live = await take(first, LIVE_MESSAGES)
  for (const line of live) say("", line)
  say("subscriber", "stopped")
  await publish(broker, numbered(LIVE_MESSAGES + 1, LIVE_MESSAGES + AWAY_MESSAGES))
  say("publisher", `mqtt-pub: ${AWAY_MESSAGES} more messages, all acknowledged; ${await waiting(broker)} wait in the queue`)
  await broker.kill9()
  say("broker", "killed with SIGKILL")
  await broker.restart()
  say("broker", `started again: ${await waiting(broker)} messages wait in the queue`)
  say("subscriber", "comes back")
  const stored = await take(await subscribe(broker), AWAY_MESSAGES)
  for (const line of stored) say("", line)
  const received = [...live, ...stored].map((line) => Number(/^Hello mqtt (\d+)$/.exec(line)?.[1]))
  const { clean, repeats, anomalies } = checkNumbers({ qos: 1, published: LIVE_MESSAGES + AWAY_MESSAGES, received })
  const left = await waiting(broker)
  const seconds = ((performance.now() - start) / 1000).toFixed(1)
  if (!clean || repeats > 0 || left > 0) {
    const problems = anomalies.flatMap(({ history }) => history)
    if (repeats > 0) problems.push(`${repeats} came more than once`)
    if (left > 0) problems.push(`${left} are still in the queue`)
    say("\nFAILED", problems.join("\n"))
    return 1
  }
  say("\nOK", `${LIVE_MESSAGES + AWAY_MESSAGES} messages, in order, none missing; the queue is empty (${seconds} s)`)
  return 0
}

await runMain(async () => {
  try {
    return await story()
  } finally {
    await cleanUp()
  }
})
