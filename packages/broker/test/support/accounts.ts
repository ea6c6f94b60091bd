import { renameSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { passwordFile, randomId, startBroker, type TestBroker, waitFor } from "@mqtt-trio/testing"
import { lasting } from "./messages.js"
import { Peer } from "./peer.js"
import { readConnack } from "./read.js"
import { fullConnect, type FullConnect } from "./will.js"

/** A line of a password file. */
export function accountLine(user: string, password: string | Buffer): string {
  return passwordFile({ [user]: password }).trimEnd()
}

export interface AccountsOptions {
  /** passwords by user name; undefined: no password file */
  users?: Readonly<Record<string, string | Buffer>>
  /** lines of the ACL file; undefined: none */
  acl?: readonly string[]
  args?: readonly string[]
  store?: string
}

/** A broker with users and rights, and ways to come in. */
export class Accounts {
  readonly passwordFile: string
  readonly aclFile: string

  private constructor(readonly broker: TestBroker) {
    this.passwordFile = join(broker.dir, "users")
    this.aclFile = join(broker.dir, "acl")
  }

  static async start({ acl, store = "memory:", ...options }: AccountsOptions): Promise<Accounts> {
    return new Accounts(await startBroker({ ...options, store, ...(acl ? { acl: textOf(acl) } : {}) }))
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
    if (what.users) replace(this.passwordFile, passwordFile(what.users))
    if (what.acl) replace(this.aclFile, textOf(what.acl))
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

function textOf(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join("")
}

function replace(file: string, text: string): void {
  writeFileSync(`${file}.new`, text)
  renameSync(`${file}.new`, file)
}
