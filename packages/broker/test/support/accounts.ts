import { pbkdf2Sync } from "node:crypto"
import { renameSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { randomId, startBroker, temporaryFolder, type TestBroker, waitFor } from "@mqtt-trio/testing"
import { lasting } from "./messages.js"
import { Peer } from "./peer.js"
import { readConnack } from "./read.js"
import { fullConnect, type FullConnect } from "./will.js"

/** A line of a password file as mosquitto writes it. */
export function accountLine(user: string, password: string | Buffer, iterations = 101): string {
  const salt = Buffer.from("a salt of 12")
  const hash = pbkdf2Sync(password, salt, iterations, 64, "sha512")
  return `${user}:$7$${iterations}$${salt.toString("base64")}$${hash.toString("base64")}`
}

export interface AccountsOptions {
  /** passwords by user name; undefined: no password file */
  users?: Readonly<Record<string, string>> | undefined
  /** lines of the ACL file; undefined: none */
  acl?: readonly string[] | undefined
  args?: readonly string[]
  store?: string
}

/** A broker with users and rights, and ways to come in. */
export class Accounts {
  private constructor(
    readonly broker: TestBroker,
    readonly passwordFile: string,
    readonly aclFile: string,
  ) {}

  static async start({ users, acl, args = [], store = "memory:" }: AccountsOptions): Promise<Accounts> {
    const dir = temporaryFolder()
    const [passwordFile, aclFile] = [join(dir, "users"), join(dir, "acl")]
    const options = [...args]
    if (users) options.push("--password-file", passwordFile)
    if (acl) options.push("--acl-file", aclFile)
    if (users) writeUsers(passwordFile, users)
    if (acl) writeLines(aclFile, acl)
    return new Accounts(await startBroker({ dir, store, args: options }), passwordFile, aclFile)
  }

  /** The code of the CONNACK. */
  async code(version: 4 | 5, fields: Partial<FullConnect>): Promise<number> {
    const peer = new Peer(this.broker.port, version)
    peer.send(fullConnect(version, { clientId: randomId(), ...fields }))
    const connack = await peer.next()
    return version === 5 ? readConnack(connack).reason : (connack[3] ?? -1)
  }

  /** A client that was let in; its password is its user name with "!" behind it. */
  async login(version: 4 | 5, userName: string | undefined, fields: Partial<FullConnect> = {}): Promise<Peer> {
    const peer = new Peer(this.broker.port, version)
    const account = userName === undefined ? {} : { userName, password: `${userName}!` }
    peer.send(fullConnect(version, { clientId: randomId(), ...account, ...fields }))
    const connack = await peer.next()
    const code = version === 5 ? readConnack(connack).reason : connack[3]
    if (code !== 0) throw new Error(`refused: ${connack.toString("hex")}`)
    return peer
  }

  /** The same with a Session that lasts. */
  lasting(version: 4 | 5, userName: string | undefined, clientId: string): Promise<Peer> {
    const { clean, properties } = lasting(clientId)
    return this.login(version, userName, { clientId, ...(clean === undefined ? {} : { clean }), ...(properties ? { properties } : {}) })
  }

  /** Replaces a file; resolves when the broker has read it. */
  async change(what: { users?: Readonly<Record<string, string>>; acl?: readonly string[] }): Promise<void> {
    const before = this.readings
    if (what.users) writeUsers(this.passwordFile, what.users)
    if (what.acl) writeLines(this.aclFile, what.acl)
    process.kill(this.broker.pid, "SIGHUP")
    await waitFor(() => this.readings > before, { what: "that the files were read again" })
  }

  private get readings(): number {
    return this.broker.stderr.split("read again").length
  }
}

/** Passwords are the user names with "!" behind them, for names alone. */
export function users(...names: string[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, `${name}!`]))
}

function writeUsers(file: string, accounts: Readonly<Record<string, string>>): void {
  writeLines(
    file,
    Object.entries(accounts).map(([user, password]) => accountLine(user, password)),
  )
}

function writeLines(file: string, lines: readonly string[]): void {
  writeFileSync(`${file}.new`, lines.map((line) => `${line}\n`).join(""))
  renameSync(`${file}.new`, file)
}
