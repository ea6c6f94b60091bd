import { CliError, type ConnectionSettings, describeTarget, passwordAlone, quoted } from "@mqtt-trio/common"

/** Reason codes of MQTT 5.0 (section 2.4) that mean failure, in words. */
const REASONS: Readonly<Record<number, string>> = {
  0x80: "unspecified error",
  0x81: "malformed packet",
  0x82: "protocol error",
  0x83: "the broker's own rules forbid it",
  0x84: "unsupported protocol version",
  0x85: "client identifier not valid",
  0x86: "bad user name or password",
  0x87: "not authorized",
  0x88: "server unavailable",
  0x89: "server busy",
  0x8a: "banned",
  0x8b: "server shutting down",
  0x8c: "bad authentication method",
  0x8d: "keep alive timeout",
  0x8e: "session taken over",
  0x8f: "topic filter invalid",
  0x90: "topic name invalid",
  0x91: "packet identifier in use",
  0x93: "receive maximum exceeded",
  0x94: "topic alias invalid",
  0x95: "packet too large",
  0x96: "message rate too high",
  0x97: "quota exceeded",
  0x98: "administrative action",
  0x99: "payload format invalid",
  0x9a: "retain not supported",
  0x9b: "QoS not supported",
  0x9c: "use another server",
  0x9d: "server moved",
  0x9e: "shared subscriptions not supported",
  0x9f: "connection rate exceeded",
  0xa1: "subscription identifiers not supported",
  0xa2: "wildcard subscriptions not supported",
}

/** CONNACK return codes of MQTT 3.1.1 (section 3.2.2.3) as the reason codes of 5.0 that say the same. */
const OLD_CODES: Readonly<Record<number, number>> = { 1: 0x84, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87 }

/** Refusals that trying again cannot change. */
const FINAL_REASONS = new Set([0x81, 0x82, 0x84, 0x85, 0x86, 0x87, 0x8a, 0x8c, 0x90, 0x95, 0x9a, 0x9b, 0x9d])

/** The reason code of MQTT 5.0, whatever the version, when this error of MQTT.js is a CONNACK that says no. */
export function refusalIn(error: Error): number | undefined {
  const code: unknown = "code" in error ? error.code : undefined
  return typeof code === "number" && error.message.startsWith("Connection refused") ? (OLD_CODES[code] ?? code) : undefined
}

/** A reason code in words. */
export function reasonText(code: number): string {
  return REASONS[code] ?? `reason code 0x${code.toString(16).padStart(2, "0")}`
}

export function isRefusalForGood(reason: number): boolean {
  return FINAL_REASONS.has(reason)
}

/** What helps when a broker may not speak the only version that has passwords without user names. */
export const NEEDS_USER_NAME = "before MQTT 5 a password needs a user name: add --username NAME"

/** The error for a CONNACK that says no: what, the likely cause, what to try. */
export function refusedConnection(reason: number, settings: ConnectionSettings): CliError {
  const hint = connectionHint(reason, settings)
  return new CliError("connection-refused", `${describeTarget(settings.target)} refused the connection: ${reasonText(reason)}`, { hint })
}

function connectionHint(reason: number, settings: ConnectionSettings): string | undefined {
  const anonymous = settings.username === undefined
  switch (reason) {
    case 0x84:
      if (passwordAlone(settings)) return NEEDS_USER_NAME
      return settings.version === 5 ? "this broker does not speak MQTT 5: use -V 3.1.1" : "try -V 5 or -V 3.1.1"
    case 0x85:
      return `the broker does not accept the client id ${quoted(settings.clientId)}: choose another with --client`
    case 0x86:
    case 0x87:
      if (passwordAlone(settings)) return "the broker may want a user name with the password: add --username NAME"
      return anonymous
        ? "the broker wants to know who you are: add --username NAME --password"
        : `check the user name ${quoted(settings.username ?? "")} and its password`
    case 0x9a:
      return "the broker keeps no retained messages: leave out --will-retain"
    case 0x9b:
      return "the broker does not offer this QoS: choose a lower --will-qos"
    default:
      return undefined
  }
}

/** The error for a PUBACK, PUBREC or SUBACK that says no. */
export function refusedRequest(what: string, reason: number): CliError {
  const hint =
    reason === 0x87 ? "the broker's access rules forbid it to this user: connect with --username, or ask for the right" : undefined
  return new CliError("request-refused", `the broker refused ${what}: ${reasonText(reason)}`, { hint })
}
