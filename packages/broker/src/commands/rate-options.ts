import { integer, parseByteSize, quoted, usageError, value } from "@mqtt-trio/common"
import type { BrokerOptions } from "../server/broker.js"

const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600 }

/** How fast one client may be. Values are per second; undefined: as fast as it likes. */
export const RATE_OPTIONS = {
  maxRate: value({
    flags: "--max-rate <rate>",
    help: "messages taken from one client: 1000/s; a faster one is read more slowly",
    group: "Limits",
    env: "MQTT_BROKER_MAX_RATE",
    parse: rate("100/s, 30/m or 10/h", integer("the number of messages", 1, 1_000_000_000)),
  }),
  maxByteRate: value({
    flags: "--max-byte-rate <rate>",
    help: "bytes taken from one client: 64KB/s; a faster one is read more slowly",
    group: "Limits",
    env: "MQTT_BROKER_MAX_BYTE_RATE",
    parse: rate("64KB/s, 1MB/m or 10MB/h", parseByteSize),
  }),
} as const

interface RateValues {
  readonly maxRate: number | undefined
  readonly maxByteRate: number | undefined
}

/** From here on some clients take a broker that does not answer for one that is gone. */
const LONG_PAUSE_SECONDS = 10

/** Rates that are allowed and seldom meant, each with whether they are there. */
export function rateOddities(options: RateValues & { readonly maxPacket: number }): [boolean, string][] {
  const { maxRate = Infinity, maxByteRate = Infinity, maxPacket } = options
  const pause = Math.round(maxPacket / maxByteRate)
  return [
    [maxRate < 1, "max-rate is less than one message a second: a client that sends two waits longer for the answer than most do"],
    [
      pause > LONG_PAUSE_SECONDS,
      `max-byte-rate is little for max-packet: behind the largest packet a client is not read for ${pause} s, its pings included`,
    ],
  ]
}

/** Both rates, Infinity where there is none; undefined: neither is limited. */
export function rateOf({ maxRate: messages, maxByteRate: bytes }: RateValues): BrokerOptions["limits"]["rate"] {
  return messages === undefined && bytes === undefined ? undefined : { messages: messages ?? Infinity, bytes: bytes ?? Infinity }
}

/** A parser for an amount in a second, a minute or an hour. */
function rate(examples: string, parseAmount: (text: string) => number): (text: string) => number {
  return (text) => {
    const [, amount, unit = ""] = /^([^/]+)\/([^/]+)$/.exec(text) ?? []
    const seconds = SECONDS[unit]
    if (amount === undefined || seconds === undefined) throw usageError(`rate ${quoted(text)} is not one such as ${examples}`)
    const perSecond = parseAmount(amount) / seconds
    if (perSecond === 0) throw usageError(`rate ${quoted(text)} lets nothing through`, "leave it out for no limit")
    return perSecond
  }
}
