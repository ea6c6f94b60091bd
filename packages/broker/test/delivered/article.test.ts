import { join } from "node:path"
import { checkNumbers } from "@mqtt-trio/torture"
import {
  hasMongoServer,
  runCli,
  spawnCli,
  startBroker,
  startMongoServer,
  waitFor,
  type RunningProcess,
  type TestBroker,
} from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"

const MESSAGES = 1000
/** How many messages may be under way at one moment, at most, at a message each 10 ms: a busy machine may take a second, a server more. */
const NEAR = { "file:": 100, "mongodb:": 500 }
const KINDS: (keyof typeof NEAR)[] = ["file:", ...(hasMongoServer() ? (["mongodb:"] as const) : [])]
const ADDRESS_OF = (broker: TestBroker): string[] => ["-p", String(broker.port)]
const SUBSCRIBER = ["test", "--client", "cli_sub", "--persistent", "--reconnect-period", "50ms"]

/** The numbers of the messages in what a subscriber printed: `Hello mqtt 17` is 17. */
function numbers(...outputs: RunningProcess[]): number[] {
  const lines = outputs.flatMap(({ stdout }) => stdout.split("\n").slice(0, -1))
  return lines.map((line) => Number(/^Hello mqtt (\d+)$/.exec(line)?.[1]))
}

/** First copies in the order of their coming. */
function firstCopies(all: readonly number[]): number[] {
  return [...new Set(all)]
}

/** The numbers that mqtt-pub printed: of each message that was acknowledged. */
const numbersOf = (pub: RunningProcess): number[] => pub.stdout.split("\n").slice(0, -1).map(Number)

async function subscriber(broker: TestBroker): Promise<RunningProcess> {
  const started = spawnCli("mqtt-sub", [...SUBSCRIBER, ...ADDRESS_OF(broker)])
  await started.waitForLine("session", { stream: "stderr" })
  return started
}

/** mqtt-pub as the article runs it, quicker; it outlives the broker. */
function publisher(broker: TestBroker): RunningProcess {
  const args = ["test", "Hello mqtt {{n}}", "--template", "--interval", "10", "--count", String(MESSAGES), "--reconnect-period", "50ms"]
  return spawnCli("mqtt-pub", [...args, ...ADDRESS_OF(broker)])
}

/** How many messages the publisher knows to be stored: it prints the number of each that was acknowledged. */
const acknowledged = (pub: RunningProcess): number => numbersOf(pub).length

/** A broker on a store of a kind, and how tools say which. */
async function startOn(kind: string): Promise<{ broker: TestBroker; store: string }> {
  if (kind === "file:") {
    const broker = await startBroker()
    return { broker, store: `file:${join(broker.dir, "store")}` }
  }
  const { url } = await startMongoServer()
  return { broker: await startBroker({ store: url, args: ["--lease", "1s"] }), store: url }
}

async function queueOf(store: string): Promise<{ connected: boolean; messages: number }> {
  const args = ["queue", "cli_sub", "--peek", "0", "--json", "--store", store]
  const { code, stdout } = await runCli("mqtt-broker", args)
  expect(code).toBe(0)
  return { connected: stdout.includes('"connected":true'), messages: Number(/"messages":(\d+)/.exec(stdout)?.[1]) }
}

describe.each(KINDS)("on %s", (kind) => {
  test(
    "the article: 1,000 messages, the subscriber away in the middle, the broker stopped and killed, nothing lost, nothing out of order",
    {
      timeout: 120_000,
    },
    async () => {
      const { broker, store } = await startOn(kind)
      await runCli("mqtt-sub", [...SUBSCRIBER, "-E", ...ADDRESS_OF(broker)])
      const first = await subscriber(broker)
      const pub = publisher(broker)

      await waitFor(() => numbers(first).length >= 150, { what: "150 messages" })
      expect(await first.stop("SIGINT")).toEqual({ code: 0, signal: null })
      const seen = numbers(first).length
      await waitFor(() => acknowledged(pub) >= seen + 100, { what: "100 messages for the absent subscriber" })
      expect((await queueOf(store)).connected).toBe(false)

      expect(await broker.stop()).toBe(0)
      const atStop = acknowledged(pub)
      await broker.restart()
      await waitFor(() => acknowledged(pub) >= seen + 250, { what: "messages after the first restart" })

      const second = await subscriber(broker)
      const before = acknowledged(pub)
      await waitFor(() => numbers(second).length >= before - seen, { what: "the queue" })
      await waitFor(() => acknowledged(pub) >= before + 50, { what: "live messages" })

      await broker.kill9()
      const atKill = acknowledged(pub)
      expect(pub.running).toBe(true)
      await broker.restart()

      expect(await pub.waitForEnd(60_000)).toEqual({ code: 0, signal: null })
      await waitFor(() => firstCopies(numbers(first, second)).length >= MESSAGES, { what: "1,000 messages", timeoutMs: 30_000 })
      await waitFor(async () => (await queueOf(store)).messages === 0, { what: "an empty queue" })
      await second.stop("SIGINT")

      const all = numbers(first, second)
      const verdict = checkNumbers({ qos: 1, published: MESSAGES, acknowledged: numbersOf(pub), received: all })
      expect(verdict).toMatchObject({ clean: true, acknowledged: MESSAGES, expected: MESSAGES, firstCopies: MESSAGES })
      // a repeat needs an acknowledgement that was lost: with the subscriber's going, or with the broker's stop or its end
      const repeats = all.filter((number, index) => all.indexOf(number) !== index)
      const moments = [seen, atStop, atKill]
      expect(repeats.filter((number) => !moments.some((moment) => Math.abs(number - moment) <= NEAR[kind]))).toEqual([])
      expect(acknowledged(pub)).toBe(MESSAGES)
      expect(await queueOf(store)).toMatchObject({ messages: 0 })
    },
  )

  test("an endless publisher as in the article counts on over a restart of the broker; what it counted is there", async () => {
    const { broker, store } = await startOn(kind)
    await runCli("mqtt-sub", [...SUBSCRIBER, "-E", ...ADDRESS_OF(broker)])
    const pub = spawnCli("mqtt-pub", ["test", "Hello mqtt", "--interval", "5", "--reconnect-period", "50ms", ...ADDRESS_OF(broker)])
    await waitFor(() => acknowledged(pub) >= 30, { what: "30 messages" })
    await broker.kill9()
    await broker.restart()
    const counted = acknowledged(pub)
    await waitFor(() => acknowledged(pub) >= counted + 30, { what: "30 more" })
    expect(await pub.stop("SIGINT")).toEqual({ code: 0, signal: null })
    const { messages } = await queueOf(store)
    expect(messages).toBeGreaterThanOrEqual(acknowledged(pub))
  })
})
