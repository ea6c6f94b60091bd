import { readFileSync } from "node:fs"
import type { Rights, Identity, Permissions } from "./rights.js"
// stub: "user read|write prefix"
export function readAclFile(path: string): Rights {
  const rules = readFileSync(path, "utf8")
    .split("\n")
    .filter(Boolean)
    .map((l) => l.split(" "))
  return {
    permissions: ({ user }: Identity): Permissions => {
      const may = (d: string, t: string): boolean => rules.some(([u, a, p = ""]) => u === (user ?? "-") && a === d && t.startsWith(p))
      return { mayRead: (t) => may("read", t), mayWrite: (t) => may("write", t), maySubscribe: (f) => f === "#" || may("read", f) }
    },
  }
}
