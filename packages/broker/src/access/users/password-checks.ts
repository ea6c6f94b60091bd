import { createHmac, randomBytes, timingSafeEqual } from "node:crypto"
import { Hasher } from "./hasher.js"
import type { Account } from "./password-lines.js"

/** Users whose password is remembered; beyond it the one that was right the longest time ago is not. */
const MOST_REMEMBERED = 100_000

/**
 * Compares passwords with accounts, and remembers those that were right, so that thousands of devices that connect again cost
 * nothing. What is remembered is a MAC under a key of this process, over the password and the account as it was.
 */
export class PasswordChecks {
  private readonly key = randomBytes(32)
  private readonly remembered = new Map<string, Buffer>()

  constructor(private readonly hasher = new Hasher()) {}

  /** True when so many passwords wait to be hashed that {@link check} refuses others. */
  get busy(): boolean {
    return this.hasher.busy
  }

  /** Whether the password was right before, and the account is the same still. Costs no hash. */
  remembers(user: string, account: Account, password: Uint8Array): boolean {
    const known = this.remembered.get(user)
    return known !== undefined && timingSafeEqual(known, this.macOf(account, password))
  }

  /** Whether the password is right. Hashes it, unless it is remembered. Never rejects. */
  async check(user: string, account: Account, password: Uint8Array): Promise<boolean> {
    if (this.remembers(user, account, password)) return true
    const mac = this.macOf(account, password)
    const right = await this.hasher.check(account.hash, password)
    if (right) this.remember(user, mac)
    return right
  }

  /** Takes as long as {@link check} of such an account, and remembers nothing. */
  async pretend({ hash }: Account, password: Uint8Array): Promise<false> {
    await this.hasher.check(hash, password)
    return false
  }

  private remember(user: string, mac: Buffer): void {
    this.remembered.delete(user)
    this.remembered.set(user, mac)
    if (this.remembered.size <= MOST_REMEMBERED) return
    for (const oldest of this.remembered.keys()) return void this.remembered.delete(oldest)
  }

  private macOf({ token }: Account, password: Uint8Array): Buffer {
    return createHmac("sha256", this.key).update(token).update(password).digest()
  }
}
