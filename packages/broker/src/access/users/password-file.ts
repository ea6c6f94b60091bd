import { randomBytes } from "node:crypto"
import { messageOf, quoted } from "@mqtt-trio/common"
import { BrokerError } from "../../errors.js"
import { PasswordChecks } from "./password-checks.js"
import { costOf, ITERATIONS, type PasswordHash } from "./password-hash.js"
import { type Account, accountsOf } from "./password-lines.js"
import { readRegularFile } from "../regular-file.js"
import type { Users } from "./users.js"

/** What an unknown user costs where the file has no users at all. */
const UNKNOWN: PasswordHash = { kind: "pbkdf2-sha512", iterations: ITERATIONS, salt: randomBytes(12), digest: new Uint8Array(64) }

/** The users of a password file, as they stood there when it was read. */
export class PasswordFile implements Users {
  private readonly unknown: Account

  constructor(
    private readonly accounts: ReadonlyMap<string, Account>,
    private readonly checks: PasswordChecks,
  ) {
    this.unknown = { token: "", hash: costliest(accounts) }
  }

  /** True when so many passwords wait to be hashed that {@link verify} refuses others unseen. */
  get busy(): boolean {
    return this.checks.busy
  }

  account(user: string): string | undefined {
    return this.accounts.get(user)?.token
  }

  /** Whether {@link verify} would say true at once, without hashing, because it did before. */
  remembers(user: string, password: Buffer): boolean {
    const account = this.accounts.get(user)
    return account !== undefined && this.checks.remembers(user, account, password)
  }

  verify(user: string, password: Buffer): Promise<boolean> {
    const account = this.accounts.get(user)
    return account ? this.checks.check(user, account, password) : this.checks.pretend(this.unknown, password)
  }
}

/**
 * Reads a password file, as `mqtt-broker user` and `mosquitto_passwd` write it.
 * @param checks those of the file's earlier state, so that what it knows is not hashed again
 * Throws a BrokerError "access-unusable" when the file cannot be read, or a line of it is not understood.
 */
export function readPasswordFile(path: string, checks = new PasswordChecks()): PasswordFile {
  const content = readContent(path)
  if (content.length === 0)
    throw new BrokerError("access-unusable", `the password file ${quoted(path)} is empty: it may be half-written`, {
      hint: "mqtt-broker user add NAME --password-file FILE adds a user; a line with a # alone says that there is none",
    })
  return new PasswordFile(accountsOf(content, path), checks)
}

/** What stands in a password file. Throws a BrokerError "access-unusable" when it cannot be read. */
export function readContent(path: string): Buffer {
  try {
    return readRegularFile(path)
  } catch (error) {
    throw new BrokerError("access-unusable", `the password file ${quoted(path)} cannot be read: ${messageOf(error)}`, { cause: error })
  }
}

function costliest(accounts: ReadonlyMap<string, Account>): PasswordHash {
  let found: PasswordHash | undefined
  for (const { hash } of accounts.values()) if (!found || costOf(hash) > costOf(found)) found = hash
  return found ?? UNKNOWN
}
