import { DEFAULT_HOST, DEFAULT_KEEPALIVE_SECONDS, DEFAULT_PORT, DEFAULT_WEBSOCKET_PATH, NEVER_EXPIRES } from "../defaults.js"
import { usageError } from "../errors.js"
import { quoted } from "../exact-text.js"
import { flag, list, optional, value } from "../options/option-spec.js"
import { integer, oneOf, parseByteSize, parseDurationMs, parseInteger, parsePort, parseQos, timerDuration } from "../parsers.js"
import { parseAddress, parseBinary, parseExact, parseHost, parseText } from "../text.js"
import { parseTopicName } from "../topic.js"
import { parsePropertyArgument, propertyWidth } from "./properties.js"

/** Versions of the protocol as their CONNECT packets number them: 3 is MQTT 3.1, 4 is 3.1.1, 5 is 5.0. */
export type ProtocolVersion = 3 | 4 | 5

const CONNECTION = "Connection"
const SESSION = "Session"
const SECURITY = "TLS and WebSocket"
const PROPERTIES = "MQTT 5 properties"
const WILL = "Will"
const GENERAL = "General"

/** `-V`: accepts our spelling and mosquitto's. */
function parseProtocolVersion(text: string): ProtocolVersion {
  const name = text.toLowerCase().replace(/^mqttv/, "")
  if (["5", "5.0", "50"].includes(name)) return 5
  if (["3.1.1", "311", "4"].includes(name)) return 4
  if (["3.1", "31", "3"].includes(name)) return 3
  throw usageError(`version ${quoted(text)} is not 5, 3.1.1 or 3.1`)
}

/** `-x`: seconds, a duration, or `never` (also -1 and ∞); {@link NEVER_EXPIRES} means never. */
export function parseSessionExpiry(text: string): number {
  if (["never", "-1", "∞", String(NEVER_EXPIRES)].includes(text)) return NEVER_EXPIRES
  return seconds("session expiry")(text)
}

/** A duration in whole seconds; a bare number counts seconds. */
export function seconds(what: string, max = NEVER_EXPIRES - 1): (text: string) => number {
  return (text) => parseInteger(String(Math.ceil(parseDurationMs(text, "s", what) / 1000)), { min: 0, max, what })
}

export const connectionOptions = {
  host: optional({
    flags: "-h, --host [host]",
    parse: parseHost,
    help: "broker to connect to; without a host: this help",
    group: CONNECTION,
    env: "MQTT_HOST",
    aliases: ["--hostname"],
    defaultText: DEFAULT_HOST,
  }),
  port: value({
    flags: "-p, --port <port>",
    parse: parsePort,
    help: "its port",
    group: CONNECTION,
    env: "MQTT_PORT",
    defaultText: String(DEFAULT_PORT),
  }),
  url: value({
    flags: "-L, --url <url>",
    parse: parseExact,
    help: "mqtt, mqtts, ws, wss or mqtt+unix: scheme://[user[:password]@]host[:port][/topic]",
    group: CONNECTION,
    env: "MQTT_URL",
  }),
  unix: value({ flags: "--unix <path>", parse: parseText, help: "connect through a Unix domain socket", group: CONNECTION, hidden: true }),
  username: value({
    flags: "-u, --username <name>",
    parse: parseText,
    mayBeEmpty: true,
    help: "user name",
    group: CONNECTION,
    env: "MQTT_USERNAME",
    aliases: ["--user"],
  }),
  password: optional({
    flags: "-P, --password [password]",
    parse: parseBinary,
    mayBeEmpty: true,
    help: "password; without a value it is asked for",
    group: CONNECTION,
    env: "MQTT_PASSWORD",
    aliases: ["--pw"],
  }),
  passwordFile: value({
    flags: "--password-file <file>",
    parse: parseExact,
    help: "read the password from a file, or stdin (-)",
    group: CONNECTION,
  }),
  protocolVersion: value({
    flags: "-V, --protocol-version <v>",
    parse: parseProtocolVersion,
    help: "5, 3.1.1 or 3.1",
    group: CONNECTION,
    aliases: ["--mqtt-version"],
    defaultText: "5, then 3.1.1 where the broker knows no 5",
  }),
  keepalive: value({
    flags: "-k, --keepalive <time>",
    parse: seconds("keep alive", 65_535),
    help: "Keep Alive in seconds or with a unit; 0 is off",
    group: CONNECTION,
    aliases: ["--keep-alive"],
    fallback: DEFAULT_KEEPALIVE_SECONDS,
  }),
  connectTimeout: value({
    flags: "--connect-timeout <time>",
    parse: timerDuration("connect timeout"),
    help: "give up connecting after this time",
    group: CONNECTION,
    fallback: 30_000,
    defaultText: "30s",
  }),
  noReconnect: flag({ flags: "--no-reconnect", help: "end when the connection is lost", group: CONNECTION }),
  reconnectPeriod: value({
    flags: "--reconnect-period <time>",
    parse: timerDuration("reconnect period"),
    help: "pause between attempts to connect again",
    group: CONNECTION,
    fallback: 1000,
    defaultText: "1s",
  }),
  maxReconnects: value({
    flags: "--max-reconnects <n>",
    parse: integer("number of attempts", 0),
    help: "end after this many attempts in a row",
    group: CONNECTION,
    aliases: ["--maximum-reconnect-times"],
    defaultText: "no limit",
  }),
  bind: value({
    flags: "-A, --bind <address>",
    parse: parseAddress,
    help: "local address to connect from",
    group: CONNECTION,
    hidden: true,
  }),
  proxy: value({
    flags: "--proxy <url>",
    parse: parseText,
    help: "SOCKS proxy: socks5h://[user[:password]@]host[:port]",
    group: CONNECTION,
    hidden: true,
  }),
  nodelay: flag({ flags: "--nodelay", help: "no effect: small packets are never held back", group: CONNECTION, hidden: true }),

  client: value({
    flags: "-i, --client <id>",
    parse: parseText,
    mayBeEmpty: true,
    help: "client id; without -c its session is lost",
    group: SESSION,
    env: "MQTT_CLIENT_ID",
    aliases: ["--id", "--client-id", "--identifier"],
    defaultText: "random",
  }),
  idPrefix: value({
    flags: "-I, --id-prefix <prefix>",
    parse: parseText,
    help: "client id made of this and the process id",
    group: SESSION,
  }),
  persistent: flag({
    flags: "-c, --persistent",
    help: "keep the session when away; needs --client",
    group: SESSION,
    aliases: ["--disable-clean-session", "--no-clean"],
  }),
  sessionExpiry: value({
    flags: "-x, --session-expiry <time>",
    parse: parseSessionExpiry,
    help: "how long it is kept: seconds, 1h, never",
    group: SESSION,
    aliases: ["--session-expiry-interval"],
    defaultText: "never with -c, else 0",
  }),

  tls: flag({
    flags: "--tls",
    help: "TLS with the trust store of the system",
    group: SECURITY,
    aliases: ["--tls-use-os-certs", "--secure"],
  }),
  cafile: value({
    flags: "--cafile <file>",
    parse: parseExact,
    help: "TLS; trust the certificates in this file",
    group: SECURITY,
    aliases: ["--ca"],
  }),
  capath: value({ flags: "--capath <dir>", parse: parseText, help: "TLS; trust the certificates in this folder", group: SECURITY }),
  cert: value({ flags: "--cert <file>", parse: parseExact, help: "client certificate", group: SECURITY }),
  key: value({ flags: "--key <file>", parse: parseExact, help: "its private key", group: SECURITY }),
  insecure: flag({ flags: "--insecure", help: "accept any server certificate: for tests only", group: SECURITY }),
  tlsVersion: value({
    flags: "--tls-version <version>",
    parse: oneOf("TLS version", ["tlsv1.3", "tlsv1.2", "tlsv1.1"]),
    help: "tlsv1.3, tlsv1.2 or tlsv1.1",
    group: SECURITY,
  }),
  ciphers: value({ flags: "--ciphers <list>", parse: parseText, help: "ciphers as OpenSSL names them", group: SECURITY }),
  tlsAlpn: value({ flags: "--tls-alpn <protocol>", parse: parseText, help: "ALPN protocol", group: SECURITY, aliases: ["--alpn"] }),
  servername: value({
    flags: "--servername <name>",
    parse: parseText,
    help: "name to expect in the server's certificate",
    group: SECURITY,
  }),
  psk: value({ flags: "--psk <hex>", parse: parseText, help: "pre-shared key in hexadecimal", group: SECURITY, hidden: true }),
  pskIdentity: value({ flags: "--psk-identity <identity>", parse: parseText, help: "identity for --psk", group: SECURITY, hidden: true }),
  keyform: value({
    flags: "--keyform <form>",
    parse: oneOf("key form", ["pem", "engine"]),
    help: "pem, or engine: --key is a key id in --tls-engine",
    group: SECURITY,
    hidden: true,
  }),
  tlsEngine: value({
    flags: "--tls-engine <engine>",
    parse: parseText,
    help: "OpenSSL engine that holds the key",
    group: SECURITY,
    hidden: true,
  }),
  tlsEngineKpassSha1: value({
    flags: "--tls-engine-kpass-sha1 <sha1>",
    parse: parseText,
    help: "refused: Node.js cannot hand a key password to an engine",
    group: SECURITY,
    hidden: true,
  }),
  ws: flag({ flags: "--ws", help: "MQTT over WebSocket", group: SECURITY }),
  path: value({
    flags: "--path <path>",
    parse: parseText,
    help: "path of the WebSocket",
    group: SECURITY,
    fallback: DEFAULT_WEBSOCKET_PATH,
  }),
  wsHeader: list({
    flags: "--ws-header <name:value>",
    parse: parseHeader,
    help: "header of the WebSocket request",
    group: SECURITY,
    aliases: ["--ws-headers"],
  }),

  property: list({
    flags: "-D, --property <packet...>",
    parse: parsePropertyArgument,
    help: "any property, as mosquitto: -D publish user-property k v",
    group: PROPERTIES,
    width: propertyWidth,
  }),
  receiveMaximum: value({
    flags: "--receive-maximum <n>",
    parse: integer("receive maximum", 1, 65_535),
    help: "unacknowledged messages the broker may send",
    group: PROPERTIES,
  }),
  maximumPacketSize: value({
    flags: "--maximum-packet-size <n>",
    parse: parsePacketSize,
    help: "largest packet to accept",
    group: PROPERTIES,
  }),

  willTopic: value({
    flags: "--will-topic <topic>",
    parse: parseTopicName,
    help: "where the broker reports that this client died",
    group: WILL,
  }),
  willPayload: value({
    flags: "--will-payload <text>",
    parse: parseBinary,
    mayBeEmpty: true,
    help: "what it says",
    group: WILL,
    aliases: ["--will-message"],
  }),
  willQos: value({ flags: "--will-qos <qos>", parse: parseQos, help: "QoS of the will", group: WILL, defaultText: "0" }),
  willRetain: flag({ flags: "--will-retain", help: "retain the will", group: WILL }),
  willDelay: value({
    flags: "--will-delay <time>",
    parse: seconds("will delay"),
    help: "wait this long first (MQTT 5)",
    group: WILL,
    aliases: ["--will-delay-interval"],
  }),

  quiet: flag({ flags: "--quiet", help: "print errors only", group: GENERAL }),
  debug: flag({
    flags: "-d, --debug",
    help: "print packets and the stacks of errors on stderr",
    group: GENERAL,
  }),
  noColor: flag({ flags: "--no-color", help: "no colours on a terminal", group: GENERAL }),
} as const

/** Maximum Packet Size: 0 is a protocol error (MQTT 5.0 section 3.1.2.11.4). */
function parsePacketSize(text: string): number {
  return parseInteger(String(parseByteSize(text)), { min: 1, max: NEVER_EXPIRES, what: "maximum packet size" })
}

function parseHeader(text: string): readonly [name: string, value: string] {
  const at = text.search(/[:=]/)
  if (at < 1) throw usageError(`${quoted(text)} is not NAME: VALUE`)
  return [parseText(text.slice(0, at).trim()), parseText(text.slice(at + 1).trim())]
}
