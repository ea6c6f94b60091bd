import { Hasher, type HasherOptions } from "../../src/access/users/hasher.js"

/** A hasher whose threads run the program that was built. */
export function builtHasher(options: HasherOptions = {}): Hasher {
  return new Hasher({ program: new URL("../../dist/access/users/hash-worker.js", import.meta.url), ...options })
}
