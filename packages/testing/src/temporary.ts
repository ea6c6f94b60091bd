import { randomBytes } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { onCleanUp } from "./clean-up.js"

const folders = new Set<string>()
process.once("exit", () => folders.forEach(remove))

/** A new empty folder that is removed at the end of the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "mqtt-trio-"))
  folders.add(folder)
  onCleanUp(() => remove(folder))
  return folder
}

function remove(folder: string): void {
  folders.delete(folder)
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
}

/** A name that nobody else uses: `prefix-` and eight hexadecimal digits. */
export function randomId(prefix = "t"): string {
  return `${prefix}-${randomBytes(4).toString("hex")}`
}
