import { counted } from "@mqtt-trio/common"
import type { ConnectionFacts, ConnectionLog } from "../connection/context.js"
import type { Dropped } from "../delivery/sessions/drops.js"
import type { Discarded } from "../delivery/sessions/sessions.js"
import { Reason, type ReasonCode } from "../wire/reason-codes.js"
import type { EventLog } from "./event-log.js"

const REASON_NAMES = new Map<number, string>(Object.entries(Reason).map(([name, code]) => [code, name.toLowerCase().replaceAll("_", " ")]))

/** What the log says about connections; each kind of line has its own limit. */
export function connectionLog(log: EventLog): ConnectionLog {
  return {
    connected: (connection) => {
      const [version, persistent] = [VERSION_NAMES[connection.version], connection.session?.persistent ?? false]
      log.limited("info", "connected", {
        message: `${name(connection)} connected, MQTT ${version}${connection.bridge ? ", a bridge" : ""}${persistent ? ", persistent" : ""}`,
        fields: { event: "connected", ...who(connection), version, bridge: connection.bridge, persistent },
      })
    },
    closed: (connection, reason, message) => {
      if (reason === undefined && !connection.session) return // it never said CONNECT
      if (reason === undefined) {
        const fields = { event: "left", ...who(connection), how: message }
        return log.limited("info", "left", { message: `${name(connection)} left: ${message}`, fields })
      }
      tellClosed(log, connection, reason, message)
    },
    refusedMessages: (connection, topic, refused) => {
      const { client, user } = who(connection)
      log.limited("warn", "refused messages", {
        message: `${login(client, user)} may not publish to ${quoted(topic)}: ${counted(refused, "message")} of this connection ${refused === 1 ? "was" : "were"} refused so far`,
        fields: { event: "refused-messages", client, user, topic, refused },
      })
    },
    refusedSubscription: ({ clientId: client, user = null }, filter, code) => {
      const reason = nameOf(code)
      log.limited("warn", "refused subscriptions", {
        // MQTT 3.1.1 has one code for all reasons
        message: `${login(client, user)}: its subscription to ${quoted(filter)} was refused${code === Reason.UNSPECIFIED_ERROR ? "" : `, ${reason}`}`,
        fields: { event: "refused-subscription", client, user, filter, reasonCode: code, reason },
      })
    },
    fight: (clientId) =>
      log.limited("warn", "fight", {
        message: `several clients keep taking the client identifier ${quoted(clientId)} from each other: give each its own`,
        fields: { event: "fight", client: clientId },
      }),
    dropped: (sessions) => {
      for (const { clientId, dropped } of sessions)
        log.limited("warn", "dropped", {
          message: `${quoted(clientId)}: messages given up so far: ${inWords(dropped)}`,
          fields: { event: "dropped", client: clientId, ...dropped },
        })
    },
    tight: (takes) => tellTight(log, takes),
    forbiddenWill: (clientId, topic) =>
      log.limited("warn", "will", {
        message: `${quoted(clientId)}: its Will is not sent, its user may not publish to ${quoted(topic)} any more`,
        fields: { event: "forbidden-will", client: clientId, topic },
      }),
    discarded: (lost) => tellDiscarded(log, lost),
    notice: (clientId, message) =>
      log.limited("warn", "notice", { message: `${quoted(clientId)}: ${message}`, fields: { event: "notice", client: clientId } }),
  }
}

function tellClosed(log: EventLog, connection: ConnectionFacts, reason: ReasonCode, detail: string): void {
  if (!connection.greeted) {
    // what never said CONNECT spoke no MQTT that could be malformed
    const fields = { event: "refused", address: connection.remote, detail }
    return log.limited(level(reason), "refused", { message: `${connection.remote} was closed: ${detail}`, fields })
  }
  const reasonName = nameOf(reason)
  log.limited(level(reason), `closed ${reason}`, {
    message: `${name(connection)} was closed, ${reasonName}: ${detail}`,
    fields: { event: "closed", ...who(connection), reasonCode: reason, reason: reasonName, detail },
  })
}

function nameOf(reason: number): string {
  return REASON_NAMES.get(reason) ?? String(reason)
}

const DROP_REASONS = [
  ["slow", "at QoS 0 because it reads too slowly"],
  ["expired", "expired"],
  ["tooLarge", "too large for it"],
  ["queueFull", "because its queue was full"],
  ["unsubscribed", "that waited under a filter it unsubscribed"],
  ["refused", "that it refused"],
  ["forbidden", "that its user may not read any more"],
  ["discarded", "with an earlier session"],
] as const

function inWords(dropped: Readonly<Dropped>): string {
  const given = DROP_REASONS.filter(([why]) => dropped[why])
  return given.map(([why, words]) => `${dropped[why]} ${words}`).join(", ")
}

function tellTight(log: EventLog, { bytes, limit, counted: takes }: Parameters<ConnectionLog["tight"]>[0]): void {
  const largest = Object.entries(takes).toSorted(([, one], [, other]) => other - one)
  const parts = largest.filter(([, some]) => some >= 1_048_576).map(([kind, some]) => `${kind} ${megabytes(some)}`)
  log.limited("warn", "memory", {
    message: `clients take ${megabytes(bytes)} of the ${megabytes(limit)} of memory that --max-memory leaves them: ${parts.join(", ")}; publishers wait, and those who hold the most are closed if that does not help`,
    fields: { event: "memory-tight", bytes, limit, ...takes },
  })
}

function tellDiscarded(log: EventLog, { clientId, why, persistent, count, total }: Discarded): void {
  const waited = count ? `${count.exact ? "" : "at least "}${count.messages}` : "an unknown number of"
  // a Session that is not persistent ends with its connection, as everybody expects
  log.limited(persistent ? "warn" : "info", persistent ? "discarded" : "ended", {
    message: `${quoted(clientId)}: ${waited} ${count?.messages === 1 ? "message is" : "messages are"} gone with its session: ${END_REASONS[why]}`,
    fields: { event: "discarded", client: clientId, messages: count?.messages, exact: count?.exact, why, total },
  })
}

const END_REASONS = {
  "clean start": "a client with this identifier connected with Clean Start, as mqtt-sub and mqtt-pub do without --persistent",
  expired: "its Session Expiry Interval is over",
  "ended with its connection": "it ended with its connection",
} as const

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1_048_576)} MB`
}

const VERSION_NAMES = { 3: "3.1", 4: "3.1.1", 5: "5.0" } as const

/** What a client chose, in quotes; it may be long. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text)
}

interface Who {
  readonly client: string | null
  readonly user: string | null
  readonly address: string
}

function who({ claims, remote }: ConnectionFacts): Who {
  return { client: claims?.clientId || null, user: claims?.user ?? null, address: remote }
}

/** Who is let in; or, in brackets, who somebody says to be. */
function name(connection: ConnectionFacts): string {
  const { client, user, address } = who(connection)
  if (connection.session) return `${login(client, user)} (${address})`
  return client === null && user === null ? address : `${address} (says it is ${login(client, user)})`
}

function login(client: string | null, user: string | null): string {
  return [quoted(client ?? ""), ...(user === null ? [] : [quoted(user)])].join(" as ")
}

function level(reason: ReasonCode): "warn" | "info" {
  return reason === Reason.SERVER_SHUTTING_DOWN || reason === Reason.KEEP_ALIVE_TIMEOUT ? "info" : "warn"
}
