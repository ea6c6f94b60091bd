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
          `${short(clientId)}: messages given up so far: ${dropped.slow} at QoS 0 because it reads too slowly, ${dropped.expired} expired, ${dropped.tooLarge} too large for it, ${dropped.queueFull} because its queue was full`,
        )
    },
    notice: (clientId, message) => log.limited("warn", "notice", `${short(clientId)}: ${message}`),
  }
}

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
