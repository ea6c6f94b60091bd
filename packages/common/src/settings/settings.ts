import { randomBytes } from "node:crypto"
import { DEFAULT_HOST, DEFAULT_PORT, NEVER_EXPIRES, REGISTERED_TLS_PORT } from "../defaults.js"
import type { Diagnostics } from "../diagnostics.js"
import type { OptionValues } from "../options/option-spec.js"
import type { Qos } from "../parsers.js"
import type { connectionOptions, ProtocolVersion } from "./connection-options.js"
import { parseBinary } from "../text.js"
import { askPassword, passwordFromFile } from "./password.js"
import { mergeProperties, propertiesFor, type Properties } from "./properties.js"
import { parseTargetUrl, type ParsedUrl, type Target } from "./target.js"

export type ConnectionValues = OptionValues<typeof connectionOptions>

/** TLS as the command line asks for it; files are read when connecting. */
type TlsValues = Pick<
  ConnectionValues,
  | "cafile"
  | "capath"
  | "cert"
  | "key"
  | "insecure"
  | "tlsVersion"
  | "ciphers"
  | "tlsAlpn"
  | "servername"
  | "psk"
  | "pskIdentity"
  | "keyform"
  | "tlsEngine"
>

/** The Will of a connection (MQTT 5.0 section 3.1.2.5). */
export interface WillSettings {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: Qos
  readonly retain: boolean
  readonly properties: Properties | undefined
}

/** Everything that a connection needs to know. */
export interface ConnectionSettings {
  readonly target: Target
  readonly tls: TlsValues
  readonly websocketHeaders: readonly (readonly [name: string, value: string])[]
  readonly version: ProtocolVersion
  /** False when version 3.1.1 may be tried after 5. */
  readonly versionFixed: boolean
  readonly clientId: string
  /** Clean Start (5.0) or Clean Session (3.x). */
  readonly clean: boolean
  /** The session outlives the network connection, but not this process: resumed when connecting again, ended by DISCONNECT. */
  readonly transientSession: boolean
  readonly keepaliveSeconds: number
  readonly username: string | undefined
  readonly password: Buffer | undefined
  readonly will: WillSettings | undefined
  readonly connectProperties: Properties | undefined
  readonly disconnectProperties: Properties | undefined
  readonly connectTimeoutMs: number
  /** 0: never connect again. */
  readonly reconnectPeriodMs: number
  /** Attempts in a row; Infinity without a limit. */
  readonly maxReconnects: number
  readonly bind: string | undefined
  readonly proxy: string | undefined
}

/** The URL of the command line or the environment; undefined when a host, port or socket on the command line outranks it. */
export function urlOf(values: ConnectionValues): ParsedUrl | undefined {
  if (values.url === undefined || values.unix !== undefined) return undefined
  return parseTargetUrl(values.url)
}

/** Builds the settings from checked option values; asks for the password or reads its file where that was asked for. */
export async function connectionSettings(
  values: ConnectionValues,
  more: { name: string; versionFixed: boolean; diagnostics: Diagnostics; useUrl: boolean; passwordShown: boolean },
): Promise<ConnectionSettings> {
  const url = more.useUrl ? urlOf(values) : undefined
  const version = values.protocolVersion ?? 5
  if (values.insecure) more.diagnostics.warn("--insecure: the broker's certificate is not checked, anybody may be listening in between")
  if (more.passwordShown)
    more.diagnostics.warn("anybody on this machine can read a password on the command line: use -P alone, --password-file or MQTT_PASSWORD")
  return {
    target: url?.target ?? targetOf(values),
    tls: values,
    websocketHeaders: values.wsHeader,
    version,
    versionFixed: more.versionFixed,
    clientId:
      values.client ??
      (values.idPrefix === undefined ? `${more.name}-${randomBytes(4).toString("hex")}` : `${values.idPrefix}${process.pid}`),
    clean: !values.persistent,
    transientSession: false,
    keepaliveSeconds: values.keepalive,
    username: values.username ?? url?.username,
    password: (await passwordOf(values)) ?? (url?.password === undefined ? undefined : parseBinary(url.password)),
    will: willOf(values, version),
    connectProperties: version === 5 ? connectProperties(values) : undefined,
    disconnectProperties: version === 5 ? mergeProperties(propertiesFor("disconnect", values.property)) : undefined,
    connectTimeoutMs: values.connectTimeout,
    reconnectPeriodMs: values.noReconnect ? 0 : values.reconnectPeriod,
    maxReconnects: values.maxReconnects ?? Number.POSITIVE_INFINITY,
    bind: values.bind,
    proxy: values.proxy,
  }
}

/** True when there is a password and no user name, which MQTT 5 alone allows (section 3.1.2.9; 3.1.1: [MQTT-3.1.2-22]). */
export function passwordAlone({ username, password }: ConnectionSettings): boolean {
  return password !== undefined && username === undefined
}

/** True when any of the TLS options was given that imply `--tls`. */
export function wantsTls(values: ConnectionValues): boolean {
  return [values.cafile, values.capath, values.cert, values.psk, values.tlsAlpn].some((given) => given !== undefined) || values.tls
}

function targetOf(values: ConnectionValues): Target {
  if (values.unix !== undefined) return { kind: "unix", path: values.unix }
  const host = typeof values.host === "string" ? values.host : DEFAULT_HOST
  const tls = wantsTls(values)
  const port = values.port ?? (tls ? REGISTERED_TLS_PORT : DEFAULT_PORT)
  return { kind: "tcp", host, port, tls, websocketPath: values.ws ? values.path : undefined }
}

async function passwordOf(values: ConnectionValues): Promise<Buffer | undefined> {
  if (values.passwordFile !== undefined) return passwordFromFile(values.passwordFile)
  return values.password === true ? askPassword() : values.password
}

function willOf(values: ConnectionValues, version: ProtocolVersion): WillSettings | undefined {
  if (values.willTopic === undefined) return undefined
  const delay = values.willDelay === undefined ? {} : { willDelayInterval: values.willDelay }
  return {
    topic: values.willTopic,
    payload: values.willPayload ?? Buffer.alloc(0),
    qos: values.willQos ?? 0,
    retain: values.willRetain,
    properties: version === 5 ? mergeProperties([...propertiesFor("will", values.property), delay]) : undefined,
  }
}

function connectProperties(values: ConnectionValues): Properties | undefined {
  const expiry = values.sessionExpiry ?? (values.persistent ? NEVER_EXPIRES : undefined)
  return mergeProperties([
    expiry === undefined ? {} : { sessionExpiryInterval: expiry },
    ...propertiesFor("connect", values.property),
    values.receiveMaximum === undefined ? {} : { receiveMaximum: values.receiveMaximum },
    values.maximumPacketSize === undefined ? {} : { maximumPacketSize: values.maximumPacketSize },
  ])
}
