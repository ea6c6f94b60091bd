import type { ConnectionFacts, ConnectionLog } from "../connection/context.js"
import { Reason, type ReasonCode } from "../wire/reason-codes.js"
import type { Log } from "./log.js"

const NAMES = new Map<number, string>(Object.entries(Reason).map(([name, code]) => [code, name.toLowerCase().replaceAll("_", " ")]))

/** What the log says about connections; each kind of line has its own limit. */
export function connectionLog(log: Log): ConnectionLog {
  return {
    connected: (connection) =>
      log.limited(
        "info",
        "connected",
        `${name(connection)} connected, MQTT ${VERSIONS[connection.version]}${connection.session?.persistent ? ", persistent" : ""}`,
      ),
    closed: (connection, reason, message) => {
      if (reason === null && !connection.session) return // it never said CONNECT
      if (reason === null) log.limited("info", "left", `${name(connection)} left: ${message}`)
      else log.limited(level(reason), `closed ${reason}`, `${name(connection)} was closed, ${NAMES.get(reason) ?? reason}: ${message}`)
    },
    fight: (clientId) =>
      log.limited(
        "warn",
        "fight",
        `several clients keep taking the client identifier ${JSON.stringify(short(clientId))} from each other: give each its own`,
      ),
    dropped: (sessions) => {
      for (const { clientId, dropped } of sessions)
        log.limited(
          "warn",
          "dropped",
          `${short(clientId)}: messages given up so far: ${REASONS.filter(([why]) => dropped[why])
            .map(([why, words]) => `${dropped[why]} ${words}`)
            .join(", ")}`,
        )
    },
    discarded: ({ clientId, why, persistent, count }) => {
      const waited = count ? `${count.exact ? "" : "at least "}${count.messages}` : "an unknown number of"
      // a Session that is not persistent ends with its connection, as everybody expects
      log.limited(
        persistent ? "warn" : "info",
        persistent ? "discarded" : "ended",
        `${short(clientId)}: ${waited} ${count?.messages === 1 ? "message is" : "messages are"} gone with its session: ${ENDS[why]}`,
      )
    },
    notice: (clientId, message) => log.limited("warn", "notice", `${short(clientId)}: ${message}`),
  }
}

const REASONS = [
  ["slow", "at QoS 0 because it reads too slowly"],
  ["expired", "expired"],
  ["tooLarge", "too large for it"],
  ["queueFull", "because its queue was full"],
  ["unsubscribed", "that waited under a filter it unsubscribed"],
  ["refused", "that it refused"],
  ["discarded", "with an earlier session"],
] as const

const ENDS = {
  "clean start": "a client with this identifier connected with Clean Start, as mqtt-sub and mqtt-pub do without --persistent",
  expired: "its Session Expiry Interval is over",
  "ended with its connection": "it ended with its connection",
} as const

const VERSIONS = { 3: "3.1", 4: "3.1.1", 5: "5.0" } as const

/** What a client chose may be long. */
function short(text: string): string {
  return text.length > 100 ? `${text.slice(0, 100)}…` : text
}

function name(connection: ConnectionFacts): string {
  return connection.clientId ? `${short(connection.clientId)} (${connection.remote})` : connection.remote
}

function level(reason: ReasonCode): "warn" | "info" {
  return reason === Reason.SERVER_SHUTTING_DOWN || reason === Reason.KEEP_ALIVE_TIMEOUT ? "info" : "warn"
}
