import { usageError } from "../errors.js"
import type { ResolvedOptions } from "../options/apply-options.js"
import { longFlag, type OptionTable } from "../options/option-spec.js"
import type { connectionOptions } from "./connection-options.js"
import { mergeProperties, propertiesFor } from "./properties.js"
import { urlOf, wantsTls, type ConnectionValues } from "./settings.js"

type ConnectionTable = typeof connectionOptions

/** Options of the connection that exist in MQTT 5 only. */
export const CONNECTION_VERSION_5 = ["sessionExpiry", "property", "receiveMaximum", "maximumPacketSize", "willDelay"] as const

/** The rules across connection options, checked before anything is opened. Throws a usage error. */
export function checkConnection(resolved: ResolvedOptions<ConnectionTable>): void {
  const { values } = resolved
  const bySource = (key: keyof ConnectionTable): boolean => resolved.source(key) === "flag"
  for (const other of ["host", "port", "unix", "ws", "tls"] as const) {
    if (bySource("url") && bySource(other)) throw usageError(`--url and --${other} both say where to connect to`, "give one of them")
  }
  if (values.unix !== undefined && (bySource("host") || bySource("port"))) throw usageError("--unix does not go with --host or --port")
  urlOf(values)
  checkSession(resolved)
  checkCredentials(resolved, bySource)
  checkTls(values)
  checkWill(resolved)
}

/** True when the URL of the command line or the environment decides about the target. */
export function urlDecides(resolved: ResolvedOptions<ConnectionTable>): boolean {
  if (resolved.source("url") === "flag") return true
  return resolved.given("url") && !(["host", "port", "unix", "ws", "tls"] as const).some((key) => resolved.source(key) === "flag")
}

/** True when the command line itself has a password, where others can read it. */
export function passwordShown(resolved: ResolvedOptions<ConnectionTable>): boolean {
  const { values, source } = resolved
  if (source("password") === "flag" && values.password !== true) return true
  return source("url") === "flag" && urlOf(values)?.password !== undefined
}

/** Throws when an option of MQTT 5 meets `-V 3.1.1` or `-V 3.1`. */
export function checkVersion5Options<Table extends OptionTable>(
  resolved: ResolvedOptions<Table>,
  table: Table,
  keys: readonly (keyof Table)[],
  version: number | undefined,
): void {
  if (version === undefined || version === 5) return
  const key = keys.find((candidate) => resolved.given(candidate))
  const spec = key === undefined ? undefined : table[key]
  if (spec !== undefined) throw usageError(`${longFlag(spec)} needs MQTT 5`, "leave out -V, or say -V 5")
}

function checkSession({ values, given }: ResolvedOptions<ConnectionTable>): void {
  if (values.client !== undefined && given("idPrefix"))
    throw usageError("--client and --id-prefix both name the client", "give one of them")
  if (values.client === "" && values.protocolVersion === 3) throw usageError("MQTT 3.1 needs a client id that is not empty")
  if (!values.persistent) return
  if (values.client === undefined)
    throw usageError("--persistent needs --client: a session is found again by its client id", "for example: --client my-name --persistent")
  if (values.client === "") throw usageError("--persistent needs a client id that is not empty")
}

function checkCredentials(resolved: ResolvedOptions<ConnectionTable>, bySource: (key: keyof ConnectionTable) => boolean): void {
  const { values } = resolved
  if (bySource("password") && values.passwordFile !== undefined)
    throw usageError("--password and --password-file both give the password", "give one of them")
  const url = urlDecides(resolved) ? urlOf(values) : undefined
  const password = values.password ?? values.passwordFile ?? url?.password
  const auth = mergeProperties(propertiesFor("connect", values.property))
  if (auth?.authenticationData !== undefined && auth.authenticationMethod === undefined)
    throw usageError("authentication-data needs an authentication-method", "-D connect authentication-method NAME")
  if (password !== undefined && (values.username ?? url?.username) === undefined && (values.protocolVersion ?? 5) < 5) {
    throw usageError("a password without a user name needs MQTT 5", "add --username NAME, or leave out -V")
  }
}

function checkTls(values: ConnectionValues): void {
  if ((values.cert === undefined) !== (values.key === undefined)) throw usageError("--cert and --key go together")
  if ((values.psk === undefined) !== (values.pskIdentity === undefined)) throw usageError("--psk and --psk-identity go together")
  if (values.psk !== undefined && !/^([0-9a-f]{2})+$/i.test(values.psk)) throw usageError("--psk is not a key in hexadecimal digits")
  if (values.psk !== undefined && (values.cafile !== undefined || values.capath !== undefined))
    throw usageError("--psk does not go with --cafile or --capath")
  if (values.keyform === "engine" && values.tlsEngine === undefined) throw usageError("--keyform engine needs --tls-engine")
  if (values.tlsEngineKpassSha1 !== undefined)
    throw usageError("--tls-engine-kpass-sha1 is not possible: Node.js cannot hand a key password to an engine")
  const secure = wantsTls(values) || (values.url !== undefined && /^(mqtts|wss|ssl):/i.test(values.url))
  if (values.insecure && !secure)
    throw usageError("--insecure is about TLS, but the connection is not encrypted", "add --tls, --cafile or an mqtts:// URL")
}

function checkWill({ values, given }: ResolvedOptions<ConnectionTable>): void {
  if (values.willTopic !== undefined) return
  const key = (["willPayload", "willQos", "willRetain", "willDelay"] as const).find((candidate) => given(candidate))
  if (key !== undefined) throw usageError(`--${key.replace(/[A-Z]/, (letter) => `-${letter.toLowerCase()}`)} needs --will-topic`)
}
