import { createHash, pbkdf2Sync, randomBytes, timingSafeEqual } from "node:crypto"

/** A password as a password file keeps it: how it is hashed, and what must come out. Bytes, so that a thread can be sent one. */
export type PasswordHash = Sha512Hash | Pbkdf2Hash | Argon2idHash

/** `$6$`: SHA-512 of the password and the salt. mosquitto wrote it until 1.6. */
interface Sha512Hash {
  readonly kind: "sha512"
  readonly salt: Uint8Array
  readonly digest: Uint8Array
}

/** `$7$`: PBKDF2 with HMAC-SHA-512. mosquitto 2 writes it. */
interface Pbkdf2Hash {
  readonly kind: "pbkdf2-sha512"
  readonly iterations: number
  readonly salt: Uint8Array
  readonly digest: Uint8Array
}

/** `$argon2id$`, version 1.3. mosquitto 2.1 reads and writes it. */
interface Argon2idHash {
  readonly kind: "argon2id"
  readonly memoryKib: number
  readonly iterations: number
  readonly lanes: number
  readonly salt: Uint8Array
  readonly digest: Uint8Array
}

/** What {@link hashPassword} takes about 10 ms for: more than mosquitto's 101, and still thousands of users in a minute. */
export const ITERATIONS = 10_000

/** Beyond these a hash keeps its thread busy for seconds. */
export const MOST_ITERATIONS = 10_000_000
const MOST_MEMORY_KIB = 1_048_576
const MOST_PASSES = 1000
const MOST_LANES = 64

const SHA512_BYTES = 64
/** The only length that every mosquitto reads. */
const SALT_BYTES = 12
/** What mosquitto writes, and what nearly everybody else does. */
const ARGON2ID_BYTES = [64, 32]
const ARGON2ID_LEAST_SALT = 8

const FORMS = {
  sha512: /^\$6\$([^$]+)\$([^$]+)$/,
  pbkdf2: /^\$7\$(\d{1,10})\$([^$]+)\$([^$]+)$/,
  argon2id: /^\$argon2id\$v=19\$m=(\d{1,10}),t=(\d{1,10}),p=(\d{1,10})\$([^$]+)\$([^$]+)$/,
}

const CUT = "its hash is malformed or cut off"
const TOO_COSTLY = "its hash takes too long to compute"

/** The hash that stands in a line, or in words what keeps it from being one; they show nothing of it. */
export function parseHash(text: string): PasswordHash | string {
  if (text.startsWith("$6$")) return parseSha512(text)
  if (text.startsWith("$7$")) return parsePbkdf2(text)
  if (text.startsWith("$argon2id$")) return parseArgon2id(text)
  if (text === "") return "it has no password"
  if (!text.startsWith("$")) return "its password is not hashed"
  return "its hash is of an unknown kind: $6$, $7$ and $argon2id$ are known"
}

/** A line's hash for a password: `$7$`, which mosquitto reads since 2.0. */
export function hashPassword(password: Uint8Array, iterations: number): string {
  const salt = randomBytes(SALT_BYTES)
  const digest = pbkdf2Sync(password, salt, iterations, SHA512_BYTES, "sha512")
  return `$7$${iterations}$${salt.toString("base64")}$${digest.toString("base64")}`
}

/** Whether the password is that of the hash. It computes for as long as the hash is costly. */
export async function matches(hash: PasswordHash, password: Uint8Array): Promise<boolean> {
  return timingSafeEqual(await compute(hash, password), hash.digest)
}

/** About how many ms {@link matches} takes: to compare hashes by. */
export function costOf(hash: PasswordHash): number {
  switch (hash.kind) {
    case "sha512":
      return 0
    case "pbkdf2-sha512":
      return hash.iterations / 1000
    case "argon2id":
      return (hash.memoryKib * hash.iterations) / 1000
  }
}

async function compute(hash: PasswordHash, password: Uint8Array): Promise<Uint8Array> {
  const { kind, salt, digest } = hash
  if (kind === "sha512") return createHash("sha512").update(password).update(salt).digest()
  if (kind === "pbkdf2-sha512") return pbkdf2Sync(password, salt, hash.iterations, digest.length, "sha512")
  const { argon2id } = await import("./argon2id.js")
  const { memoryKib: memorySize, iterations, lanes: parallelism } = hash
  const options = { salt, memorySize, iterations, parallelism, hashLength: digest.length, outputType: "binary" } as const
  // the library takes no empty password
  if (password.length > 0) return argon2id({ ...options, password })
  await argon2id({ ...options, password: salt })
  return new Uint8Array(digest.length)
}

function parseSha512(text: string): PasswordHash | string {
  const [salt, digest] = (FORMS.sha512.exec(text) ?? []).slice(1).map(base64)
  return salt && digest?.length === SHA512_BYTES ? { kind: "sha512", salt, digest } : CUT
}

function parsePbkdf2(text: string): PasswordHash | string {
  const [, count = "", ...rest] = FORMS.pbkdf2.exec(text) ?? []
  const [salt, digest] = rest.map(base64)
  const iterations = Number(count)
  if (!salt || digest?.length !== SHA512_BYTES || iterations < 1) return CUT
  return iterations > MOST_ITERATIONS ? TOO_COSTLY : { kind: "pbkdf2-sha512", iterations, salt, digest }
}

function parseArgon2id(text: string): PasswordHash | string {
  const [, memory = "", passes = "", parallel = "", ...rest] = FORMS.argon2id.exec(text) ?? []
  const [salt, digest] = rest.map(unpaddedBase64)
  const [memoryKib, iterations, lanes] = [Number(memory), Number(passes), Number(parallel)]
  if (!salt || salt.length < ARGON2ID_LEAST_SALT || !digest || !ARGON2ID_BYTES.includes(digest.length)) return CUT
  if (iterations < 1 || lanes < 1 || memoryKib < 8 * lanes) return CUT
  if (memoryKib > MOST_MEMORY_KIB || iterations > MOST_PASSES || lanes > MOST_LANES) return TOO_COSTLY
  return { kind: "argon2id", memoryKib, iterations, lanes, salt, digest }
}

/** Undefined for what no encoder writes: so a text that was cut off is seen. */
function base64(text: string): Uint8Array | undefined {
  const bytes = Buffer.from(text, "base64")
  // copied: a Buffer of this size is a part of a larger one, which a thread would be sent whole
  return bytes.length > 0 && bytes.toString("base64") === text ? new Uint8Array(bytes) : undefined
}

function unpaddedBase64(text: string): Uint8Array | undefined {
  return /^[^=]*$/.test(text) ? base64(text.padEnd(Math.ceil(text.length / 4) * 4, "=")) : undefined
}
