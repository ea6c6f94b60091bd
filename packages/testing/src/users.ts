import { createHash, pbkdf2Sync } from "node:crypto"

/** mosquitto_passwd's own numbers of rounds and bytes. */
const ROUNDS = 101
const SALT_BYTES = 12
const HASH_BYTES = 64

/**
 * The text of a password file, by user name and password, as mosquitto_passwd writes it: PBKDF2 with SHA-512, `$7$`. The
 * same user and password give the same line.
 */
export function passwordFile(users: Readonly<Record<string, string | Buffer>>): string {
  return Object.entries(users)
    .map(([name, password]) => `${name}:${hashed(name, password)}\n`)
    .join("")
}

function hashed(name: string, password: string | Buffer): string {
  const salt = createHash("sha256").update(name).digest().subarray(0, SALT_BYTES)
  const hash = pbkdf2Sync(password, salt, ROUNDS, HASH_BYTES, "sha512")
  return `$7$${ROUNDS}$${salt.toString("base64")}$${hash.toString("base64")}`
}
