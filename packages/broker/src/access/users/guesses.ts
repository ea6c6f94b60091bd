import { createHash } from "node:crypto"
import { isIPv6 } from "node:net"

/** Wrong passwords from one address, or for one user, before answers come later. */
const FREE_FAILURES = 3
/** The first answer that comes later does by so much, each further one by twice as much as the one before, in ms. */
const FIRST_DELAY_MS = 250
const LONGEST_DELAY_MS = 10_000
/** After so many wrong passwords the delay does not grow any more. */
const MOST_COUNTED = FREE_FAILURES + 7
/** In so much time without a wrong password one is forgotten, in ms. */
const FORGET_MS = 60_000
/** From so many wrong passwords on it is called guessing. */
const TOLD_FAILURES = 5
const MOST_ENTRIES = 10_000

/** Somebody began to guess: told once, until all of it is forgotten. */
export interface Episode {
  /** where the wrong passwords come from, or if that is several addresses, the one user that they are for */
  readonly of: "address" | "user"
  /** wrong passwords so far */
  readonly failures: number
}

interface Count {
  /** what counts for the delay, when the last one came */
  level: number
  last: number
  failures: number
  told: boolean
}

/**
 * Slows down who guesses passwords: the more were wrong from an address, or for a user, the later the next one is answered, right or
 * wrong. A user who came in from an address before is slowed there only by what was wrong for that user from that address, so that
 * guessers slow only each other. Nobody is locked out, and all of it is forgotten in minutes. A /64 of IPv6 is one address; clients without one, on Unix sockets, are as if they had one together.
 * Times are of any clock that never goes back, in ms. Memory is bounded: what changed the longest time ago goes.
 */
export class Guesses {
  private readonly addresses: Recent<Count>
  private readonly users: Recent<Count>
  /** users with the addresses from which they came in, and what was wrong there for them since */
  private readonly known: Recent<Count>

  constructor(entries = MOST_ENTRIES) {
    this.addresses = new Recent(entries)
    this.users = new Recent(entries)
    this.known = new Recent(entries)
  }

  /** How many addresses, users, and pairs of both are remembered. */
  get entries(): readonly [addresses: number, users: number, pairs: number] {
    return [this.addresses.size, this.users.size, this.known.size]
  }

  /** How much later a password is to be looked at and answered, in ms. */
  delay(address: string | undefined, user: string | undefined, now: number): number {
    const from = placeOf(address)
    const known = user === undefined ? undefined : this.known.get(pairOf(from, user))
    if (known) return delayOf(known, now)
    const ofUser = user === undefined ? 0 : delayOf(this.users.get(keyOf(user)), now)
    return Math.max(delayOf(this.addresses.get(from), now), ofUser)
  }

  /** What passwords have in common that slow each other down: the address, or the user where it came in from there before. */
  placeOf(address: string | undefined, user: string): string {
    const from = placeOf(address)
    const pair = pairOf(from, user)
    return this.known.get(pair) ? pair : from
  }

  /** A password was wrong. Returns what is to be told of it. */
  failed(address: string | undefined, user: string | undefined, now: number): Episode | undefined {
    const ofAddress = count(this.addresses, placeOf(address), now)
    const ofUser = user === undefined ? undefined : count(this.users, keyOf(user), now)
    const pair = user === undefined ? "" : pairOf(placeOf(address), user)
    if (this.known.get(pair)) count(this.known, pair, now)
    const tellAddress = shouldTell(ofAddress)
    const tellUser = ofUser !== undefined && shouldTell(ofUser)
    if (tellAddress) ofAddress.told = true
    // an address that was told of says the same
    if (ofUser && (tellUser || tellAddress)) ofUser.told = true
    if (tellAddress) return { of: "address", failures: ofAddress.failures }
    return tellUser && !ofAddress.told ? { of: "user", failures: ofUser.failures } : undefined
  }

  /** A password was right. It makes nothing of what was wrong undone: else who has an account could guess the others'. */
  succeeded(address: string | undefined, user: string): void {
    const pair = pairOf(placeOf(address), user)
    if (!this.known.get(pair)) this.known.set(pair, { level: 0, last: 0, failures: 0, told: false })
  }
}

/** The entries that were set last, in a bounded number. */
class Recent<T> {
  private readonly map = new Map<string, T>()

  constructor(private readonly most: number) {}

  get size(): number {
    return this.map.size
  }

  get(key: string): T | undefined {
    return this.map.get(key)
  }

  set(key: string, value: T): void {
    this.map.delete(key)
    this.map.set(key, value)
    if (this.map.size <= this.most) return
    for (const oldest of this.map.keys()) return void this.map.delete(oldest)
  }
}

function count(counts: Recent<Count>, key: string, now: number): Count {
  const before = counts.get(key)
  const level = levelOf(before, now)
  const isOver = before === undefined || level === 0
  const entry = isOver
    ? { level: 1, last: now, failures: 1, told: false }
    : { level: Math.min(level + 1, MOST_COUNTED), last: now, failures: before.failures + 1, told: before.told }
  counts.set(key, entry)
  return entry
}

/** What counts still; 0: all is forgotten. */
function levelOf(entry: Count | undefined, now: number): number {
  if (!entry) return 0
  return Math.max(0, entry.level - Math.max(0, Math.floor((now - entry.last) / FORGET_MS)))
}

function delayOf(entry: Count | undefined, now: number): number {
  const beyond = levelOf(entry, now) - FREE_FAILURES
  return beyond < 0 ? 0 : Math.min(FIRST_DELAY_MS * 2 ** beyond, LONGEST_DELAY_MS)
}

function shouldTell({ failures, told }: Count): boolean {
  return !told && failures >= TOLD_FAILURES
}

/** What counts as one address. */
function placeOf(address: string | undefined): string {
  if (address === undefined) return ""
  const plain = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address.replace(/%.*$/, "")
  return isIPv6(plain) ? networkOf(plain) : plain
}

/** The first 64 bits of an IPv6 address. */
function networkOf(address: string): string {
  const [head = "", tail] = address.split("::")
  const [first, last] = [groupsOf(head), groupsOf(tail ?? "")]
  // an IPv4 address at the end stands for two groups
  const written = first.length + last.length + (address.includes(".") ? 1 : 0)
  const all = tail === undefined ? first : [...first, ...Array<string>(8 - written).fill("0"), ...last]
  return all
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":")
}

function groupsOf(text: string): string[] {
  return text === "" ? [] : text.split(":")
}

/** As long for any name: those of guesses may be anything. */
function keyOf(user: string): string {
  return createHash("sha256").update(user).digest("base64")
}

function pairOf(place: string, user: string): string {
  return `${place} ${keyOf(user)}`
}
