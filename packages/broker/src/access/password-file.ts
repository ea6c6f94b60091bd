import { readFileSync } from "node:fs"
import type { Users } from "./users.js"
export class PasswordFile implements Users {
  constructor(private readonly users: Map<string, string>) {}
  account(user: string): string | undefined {
    return this.users.get(user)
  }
  remembers(_u: string, _p: Buffer): boolean {
    return false
  }
  async verify(user: string, password: Buffer): Promise<boolean> {
    return this.users.has(user) && password.toString() === `${user}!`
  }
}
export function readPasswordFile(path: string): PasswordFile {
  return new PasswordFile(
    new Map(
      readFileSync(path, "utf8")
        .split("\n")
        .filter(Boolean)
        .map((l) => {
          const [a = "", b = ""] = l.split(":")
          return [a, b] as const
        }),
    ),
  )
}
