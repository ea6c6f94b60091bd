import { BlockList, isIP, isIPv4, isIPv6 } from "node:net"
import { hostname, networkInterfaces } from "node:os"
import { domainToASCII } from "node:url"
import {
  applyOptions,
  describeTarget,
  escapeLine,
  helpText,
  integer,
  list,
  type OptionValues,
  parseExact,
  parseHost,
  parseText,
  quoted,
  resolveOptions,
  usageError,
  value,
  writeOut,
} from "@mqtt-trio/common"
import type { Command } from "commander"
import { isLoopback } from "../server/loopback.js"
import type { CertFolder, Made } from "./cert-folder.js"

export const CERT_OPTIONS = {
  dir: value({ flags: "--dir <folder>", help: "where the files are, or come to be", group: "Files", parse: parseExact, fallback: "certs" }),
  days: value({
    flags: "--days <n>",
    help: "how long a new certificate is valid; a new authority 10 years at least",
    group: "Certificates",
    parse: integer("the number of days", 1, 36_500),
    fallback: 365,
  }),
  client: list({
    flags: "--client <name>",
    help: "a certificate for this client, for --tls-require-cert; its user with --tls-user; repeatable",
    group: "Certificates",
    parse: parseCommonName,
  }),
} as const

const HELP = {
  name: "mqtt-broker cert",
  summary:
    "Makes a certificate authority and a certificate of this broker for a home or test network, and prints the commands that use them.",
  usage: "[name or address...] [options]",
  examples: [
    ["mqtt-broker cert", "for this machine: localhost, its name, its addresses"],
    ["mqtt-broker cert broker.home 192.168.1.5", "for these names and addresses alone"],
    ["mqtt-broker cert --client sensor", "a certificate for a client, of the same authority"],
  ],
  footer: [
    "Once more renews the broker's certificate: authority, key and names stay, and a running broker takes it within two seconds. Clients need ca.crt; whoever has ca.key can make certificates.",
  ],
} as const

const DAY_MS = 86_400_000
const AUTHORITY_DAYS = 3650
const PORT = 8883
const USERS = "--password-file users"
const LOCAL_NAMES = ["localhost", "127.0.0.1", "::1"]
/** All addresses at once, and those of groups. */
const NOBODY = new BlockList()
NOBODY.addSubnet("0.0.0.0", 8)
NOBODY.addSubnet("224.0.0.0", 4)
NOBODY.addAddress("255.255.255.255")
NOBODY.addAddress("::", "ipv6")
NOBODY.addSubnet("ff00::", 8, "ipv6")
/** Most characters of a Common Name (RFC 5280 appendix A.1). */
const MOST_CHARACTERS = 64
/** Most characters of a client's file without ending: file systems have 255 bytes. */
const MOST_FILE_CHARACTERS = 200

export function registerCert(program: Command): void {
  const command = program.command("cert [names...]").description("make certificates for a home or test network")
  command.configureHelp({ formatHelp: () => helpText(HELP, CERT_OPTIONS) })
  applyOptions(command, CERT_OPTIONS)
  command.action(async (names: string[]) => runCert(names, resolveOptions(command, CERT_OPTIONS).values))
}

/** Makes what is missing in the folder, renews the server's certificate, and prints how to use them. Throws a BrokerError or a usage error. */
export async function runCert(names: readonly string[], { dir, days, client }: OptionValues<typeof CERT_OPTIONS>): Promise<void> {
  const wanted = [...new Set(names.map(parseName))]
  const { changeFolder } = await import("./cert-files.js")
  const { CertFolder } = await import("./cert-folder.js")
  const lines = await changeFolder(dir, async () => {
    const folder = await CertFolder.open(dir, authorityName(), inDays(Math.max(days, AUTHORITY_DAYS)))
    const server = await serverOf(folder, wanted, { isNeeded: client.length === 0, until: inDays(days) })
    const clients: Client[] = []
    for (const name of new Set(client)) {
      const request = { file: clientFile(name), name, purpose: { kind: "client" }, until: inDays(days) } as const
      // oxlint-disable-next-line no-await-in-loop -- their files are in this order
      clients.push({ name, made: await folder.make(request) })
    }
    return { files: folder.files, result: [...filesMade(folder, server, clients), "", ...commands(folder, server, clients), ""] }
  })
  await writeOut(lines.map(escapeLine).join("\n"))
}

interface Server {
  /** undefined: it was there, and stays */
  readonly made: Made | undefined
  readonly files: { readonly cert: string; readonly key: string }
  readonly names: readonly string[]
  /** those of the one that is replaced, which are not in this one */
  readonly lost: readonly string[]
}

interface Client {
  readonly name: string
  readonly made: Made
}

/** The server's certificate: for the names that are wanted, else for those of the one that is there, else for this machine. */
async function serverOf(folder: CertFolder, wanted: readonly string[], how: { isNeeded: boolean; until: Date }): Promise<Server> {
  const present = folder.namesOf("server")
  if (present && wanted.length === 0 && !how.isNeeded && folder.isWhole("server"))
    return { made: undefined, files: folder.filesOf("server"), names: present, lost: [] }
  const names = wanted.length > 0 ? wanted : present ? renewed(present) : ownNames()
  const [first = ""] = names
  const name = first.length > MOST_CHARACTERS ? "mqtt-broker" : first
  const made = await folder.make({ file: "server", name, purpose: { kind: "server", names }, until: how.until })
  return { made, files: made, names, lost: present?.filter((one) => !names.includes(one)) ?? [] }
}

/** The names stay; a certificate for this machine also gets those that the machine has by now. */
function renewed(names: readonly string[]): readonly string[] {
  return LOCAL_NAMES.every((name) => names.includes(name)) ? [...new Set([...names, ...ownNames()])] : names
}

function filesMade({ authority }: CertFolder, server: Server, clients: readonly Client[]): string[] {
  const what = authority.isNew ? `a new authority${keyThere(authority)}` : "the authority that was there"
  const lines = [`${authority.cert}: ${what}, until ${day(authority.until)}`]
  const lost = server.lost.length > 0 ? `, no longer for ${server.lost.join(", ")}` : ""
  if (server.made) lines.push(`${server.files.cert}: ${history(server.made)}, for ${server.names.join(", ")}${lost}`)
  for (const { name, made } of clients) lines.push(`${made.cert}: ${history(made)}, for the client ${quoted(name)}`)
  return lines
}

function history(made: Made): string {
  const until = `until ${day(made.until)}${made.isCut ? ", when its authority ends" : ""}`
  if (!made.before) return `new${keyThere(made)}, ${until}`
  if (day(made.before) === day(made.until)) return `renewed, ${until}`
  return `renewed, ${until}${made.isCut ? "," : ""} instead of ${day(made.before)}`
}

function keyThere({ isTakenUp, key }: Made): string {
  return isTakenUp ? ` for the key ${quoted(key)} that was there` : ""
}

function day(date: Date): string {
  return date.toISOString().slice(0, 10)
}

/** Command lines for the broker and for its clients. */
function commands({ authority }: CertFolder, { files, names }: Server, clients: readonly Client[]): string[] {
  const host = names.find((name) => !isLoopback(name) && !name.includes("*")) ?? names.find((name) => !name.includes("*")) ?? "localhost"
  const isLocal = isLoopback(host)
  const listen = isLocal ? host : isIPv6(host) ? "::" : "0.0.0.0"
  // who shows a certificate with a name is somebody
  const hasUsers = !isLocal && clients.length === 0
  const tls = ["--tls-cert", word(files.cert), "--tls-key", word(files.key)]
  const strict = clients.length > 0 ? ["--tls-ca", word(authority.cert), "--tls-require-cert", "--tls-user"] : []
  const start = ["mqtt-broker start --listen", url(listen), ...tls, ...strict, ...(hasUsers ? [USERS] : [])].join(" ")
  const lines = [...(hasUsers ? ["a user:", `  mqtt-broker user add NAME ${USERS}`] : []), "broker:", `  ${start}`]
  const at = ["-L", url(host), "--cafile", word(authority.cert), ...(hasUsers ? ["-u NAME -P"] : [])].join(" ")
  if (clients.length === 0) return [...lines, `clients, with a copy of ${word(authority.cert)}:`, ...clientLines(at)]
  for (const { name, made } of clients)
    lines.push(`client ${quoted(name)}:`, ...clientLines(`${at} --cert ${word(made.cert)} --key ${word(made.key)}`))
  return lines
}

function clientLines(at: string): string[] {
  return [`  mqtt-sub test ${at}`, `  mqtt-pub test Hello ${at}`]
}

function url(host: string): string {
  return describeTarget({ kind: "tcp", host, port: PORT, tls: true, websocketPath: undefined })
}

/** As a shell takes it for one word. */
function word(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`
}

/** The names and addresses under which this machine may be reached. */
function ownNames(): string[] {
  const outside = Object.values(networkInterfaces()).flatMap((some) => some?.filter((one) => !one.internal) ?? [])
  const addresses = outside.map(({ address }) => address).filter((address) => !/[%]|^fe[89ab]/i.test(address))
  const name = hostname().toLowerCase()
  // a name without a dot is known to others as NAME.local, where it is at all (RFC 6762)
  const names = isName(name) ? [name, ...(name.includes(".") || name === "localhost" ? [] : [`${name}.local`])] : []
  const all = [...LOCAL_NAMES, ...addresses.filter((one) => isIPv4(one)), ...names, ...addresses]
  return [...new Set(all)]
}

function authorityName(): string {
  return `mqtt-broker authority ${new Date().toISOString().slice(0, 19)}Z ${hostname()}`.slice(0, MOST_CHARACTERS)
}

function parseName(text: string): string {
  const host = parseHost(withoutMore(text))
  if (isIP(host) !== 0 && !host.includes("%")) {
    if (NOBODY.check(host, isIPv6(host) ? "ipv6" : "ipv4"))
      throw usageError(`${quoted(text)} is an address under which no client reaches a broker`, "give the one that clients connect to")
    return isIPv6(host) ? new URL(`http://[${host}]`).hostname.slice(1, -1) : host
  }
  const name = domainToASCII(host)
  if (isName(name)) return name
  throw usageError(
    `${quoted(text)} is neither the name nor the address of a host`,
    "for example broker.home, *.home, 192.168.1.5 or fd00::5",
  )
}

/** The text. Throws a usage error for a URL, and for a host with a port. */
function withoutMore(text: string): string {
  const host = /^[a-z][a-z\d+.-]*:\/\/(?:[^/?#]*@)?(\[[^\]]*\]|[^/?#:]*)/i.exec(text)?.[1] ?? /^([^:]+|\[.*\]):\d*$/.exec(text)?.[1]
  if (host === undefined) return text
  throw usageError(`${quoted(text)} is more than the name or address of a host`, `give it alone: ${host.replaceAll(/[[\]]/g, "")}`)
}

/** A name in DNS, perhaps with a star for its first part. */
function isName(name: string): boolean {
  return name.length <= 253 && /^(\*\.)?(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*$/.test(name)
}

function parseCommonName(text: string): string {
  if (Array.from(parseText(text)).length > MOST_CHARACTERS || clientFile(text).length > MOST_FILE_CHARACTERS)
    throw usageError(`the client's name ${quoted(text)} is too long`, `give at most ${MOST_CHARACTERS} characters`)
  return text
}

/** The name of a client's files, whatever its own name is. */
function clientFile(name: string): string {
  return `client-${encodeURIComponent(name)}`
}

function inDays(days: number): Date {
  return new Date(Math.floor(Date.now() / 1000) * 1000 + days * DAY_MS)
}
