import { statSync } from "node:fs"
import { setTimeout as after } from "node:timers/promises"
import { messageOf } from "@mqtt-trio/common"
import { readAclFile } from "./rights/acl-file.js"
import { Guesses } from "./users/guesses.js"
import { Hasher } from "./users/hasher.js"
import { PasswordChecks } from "./users/password-checks.js"
import { type PasswordFile, readPasswordFile } from "./users/password-file.js"
import type { Identity, Rights } from "./rights/rights.js"
import { Turns } from "./users/turns.js"

/** Where users and rights come from. */
export interface AccessOptions {
  /** accounts in mosquitto's format; undefined: there are none, and a user name means nothing */
  readonly passwordFile: string | undefined
  /** rules in mosquitto's format; undefined: everybody may do everything */
  readonly aclFile: string | undefined
  /** whether clients without a user name are let in where there are accounts */
  readonly anonymous: boolean
  /** whether certificates name users too, who need no account */
  readonly certificates: boolean
}

/** What a CONNECT says about who it is; a password without a user name is allowed (MQTT 5.0 section 3.1.2.9). */
export interface Credentials {
  readonly clientId: string
  readonly username: string | undefined
  readonly password: Buffer | string | undefined
  /** the address of the other side; undefined: a local process */
  readonly address: string | undefined
  /** the user that the client's certificate names, where it is asked for; it needs no password */
  readonly certificateUser: string | undefined
  /** whether its connection ended, and nobody waits for the answer */
  readonly gone: () => boolean
}

/** Who was let in. */
export interface Login extends Identity {
  /** what the account was then; undefined: it has none in the password file */
  readonly account: string | undefined
}

/** Why somebody was not let in. */
export type Refusal = "bad user name or password" | "not authorized" | "server unavailable"

export type Verdict = { readonly login: Login } | { readonly refused: Refusal }

interface Guess extends Pick<Credentials, "address" | "gone"> {
  readonly username: string
  readonly bytes: Buffer
}

/** What the log says of users and rights. */
export interface AccessLog {
  info(message: string): void
  warn(message: string): void
  error(message: string): void
}

/** Who comes in and what they may do, as the files say now. */
export class Access {
  private readonly guesses = new Guesses()
  private readonly turns = new Turns()
  private readonly checks: PasswordChecks
  /** what the files were like when they were read last */
  private readonly seen = new Map<string, string>()
  private users: PasswordFile | undefined
  private rules: Rights | undefined

  /** Throws a BrokerError `access-unusable` when a file cannot be used: then nobody is let in. */
  constructor(
    private readonly options: AccessOptions,
    private readonly log: AccessLog,
  ) {
    this.checks = new PasswordChecks(new Hasher({ failed: (problem) => log.error(`a password cannot be checked: ${problem}`) }))
    this.users = this.readUsers()
    this.rules = this.readRules()
  }

  get files(): Pick<AccessOptions, "passwordFile" | "aclFile"> {
    return this.options
  }
  /** undefined: everybody may do everything that is not reserved */
  get rights(): Rights | undefined {
    return this.rules
  }
  /** Whether user names mean something. */
  get namesUsers(): boolean {
    return this.users !== undefined || this.options.certificates
  }
  /** Whether somebody may be in without a user name. */
  get anonymousAllowed(): boolean {
    return this.options.anonymous || this.users === undefined
  }

  /** Looks at a CONNECT; takes its time where passwords are guessed. Never rejects. */
  async authenticate({ clientId, username, password, certificateUser, ...from }: Credentials): Promise<Verdict> {
    if (certificateUser !== undefined) return { login: { clientId, user: certificateUser, account: undefined } }
    const { users } = this
    if (!users || (username === undefined && this.options.anonymous)) return { login: { clientId, user: undefined, account: undefined } }
    if (username === undefined) return { refused: password === undefined ? "not authorized" : "bad user name or password" }
    const bytes = typeof password === "string" ? Buffer.from(password) : (password ?? Buffer.alloc(0))
    const account = users.account(username)
    const refused = await this.refusal(users, { username, bytes, ...from })
    if (refused) return { refused }
    // it took time: the account may be another one by now
    return this.users?.account(username) === account
      ? { login: { clientId, user: username, account } }
      : { refused: "bad user name or password" }
  }

  /**
   * Looks at a password; undefined: it is right. What is remembered is answered at once as long as nothing counts against
   * it, and nothing else of its place is looked at: else it would tell, as fast as one asks, which password is right.
   */
  private async refusal(users: PasswordFile, guess: Guess): Promise<Refusal | undefined> {
    const { address, username, bytes, gone } = guess
    const { guesses, turns } = this
    const place = guesses.placeOf(address, username)
    const waitsMs = (): number => guesses.delay(address, username, performance.now())
    if (turns.isFree(place) && waitsMs() === 0 && users.remembers(username, bytes)) return undefined
    if (!(await turns.enter(place, guess))) return "server unavailable"
    try {
      const wait = waitsMs()
      if (wait > 0) await after(wait)
      if (users.busy) return "server unavailable"
      // who does not wait for the answer has guessed all the same
      const right = !gone() && (await users.verify(username, bytes))
      if (right) guesses.succeeded(address, username)
      else this.wrong(guess)
      return right ? undefined : "bad user name or password"
    } finally {
      turns.leave(place, guess)
    }
  }

  private wrong({ address, username }: Guess): void {
    const episode = this.guesses.failed(address, username, performance.now())
    if (!episode) return
    const [from, user] = [address ?? "a local process", `user ${JSON.stringify(username.slice(0, 100))}`]
    const who = episode.of === "address" ? `from ${from}, the last for ${user}` : `for ${user}, the last from ${from}`
    this.log.warn(`${episode.failures} wrong passwords ${who}: further ones are answered later and later`)
  }

  /** Whether there is such a user; where certificates name them, or names mean nothing, there is. */
  isUser(user: string): boolean {
    return this.options.certificates || this.users === undefined || this.users.account(user) !== undefined
  }

  /** Whether who logged in may stay: the account is there, and has the same password. */
  holds({ user, account }: Login): boolean {
    if (user === undefined) return this.anonymousAllowed
    return account === undefined || this.users?.account(user) === account
  }

  /** Whether a Session of `owner` may be resumed, taken over or discarded by `user`: its own, or nobody's where nobody is let in any more. */
  mayTake(owner: string | undefined, user: string | undefined): boolean {
    if (owner === user) return true
    return (!this.namesUsers && user === undefined) || (owner === undefined && !this.anonymousAllowed)
  }

  /**
   * Reads the files again, those that changed or all. What cannot be used is told, and what was read before stays. True:
   * something is read anew.
   */
  reload(which: "changed" | "all"): boolean {
    const { passwordFile, aclFile } = this.options
    const isDue = (file: string | undefined): boolean =>
      file !== undefined && (which === "all" || this.seen.get(file) !== signatureOf(file))
    const users = isDue(passwordFile) ? this.renewed(() => this.readUsers(), passwordFile) : undefined
    const rules = isDue(aclFile) ? this.renewed(() => this.readRules(), aclFile) : undefined
    if (users) this.users = users
    if (rules) this.rules = rules
    return users !== undefined || rules !== undefined
  }

  private renewed<T>(read: () => T, file: string | undefined): T | undefined {
    try {
      const value = read()
      this.log.info(`${JSON.stringify(file)} was read again`)
      return value
    } catch (error) {
      this.log.error(`${JSON.stringify(file)} cannot be used, what was read before stays: ${messageOf(error)}`)
      return undefined
    }
  }

  private readUsers(): PasswordFile | undefined {
    const { passwordFile } = this.options
    if (passwordFile === undefined) return undefined
    this.seen.set(passwordFile, signatureOf(passwordFile))
    return readPasswordFile(passwordFile, this.checks)
  }

  private readRules(): Rights | undefined {
    const { aclFile } = this.options
    if (aclFile === undefined) return undefined
    this.seen.set(aclFile, signatureOf(aclFile))
    return readAclFile(aclFile)
  }
}

/** Changes with the file. */
function signatureOf(file: string): string {
  try {
    const { ino, size, mtimeMs } = statSync(file)
    return `${ino} ${size} ${mtimeMs}`
  } catch {
    return ""
  }
}
