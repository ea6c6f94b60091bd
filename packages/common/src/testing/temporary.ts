import { randomBytes } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { onCleanUp } from "./clean-up.js"

/** A new empty folder that is removed at the end of the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "mqtt-trio-"))
  const remove = (): void => rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  onCleanUp(remove)
  process.once("exit", remove)
  return folder
}

/** A name that nobody else uses: `prefix-` and eight hexadecimal digits. */
export function randomId(prefix = "t"): string {
  return `${prefix}-${randomBytes(4).toString("hex")}`
}
