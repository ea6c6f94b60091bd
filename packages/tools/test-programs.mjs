// Vitest runs this before the attacks on the broker: what runs in processes of its own, clients that attack and clients that
// measure, is bundled, because Node.js 20 runs no TypeScript.
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { join, resolve } from "node:path"
import { build } from "esbuild"

const SUPPORT = resolve(import.meta.dirname, "../broker/test/support")
const CACHE = resolve(import.meta.dirname, "../../node_modules/.cache")
let folder = ""

export async function setup() {
  if (process.env["MQTT_TEST_PROGRAMS"] !== undefined) return // made for another project of the same run
  mkdirSync(CACHE, { recursive: true })
  folder = mkdtempSync(join(CACHE, "programs-"))
  await build({
    entryPoints: ["attack-process", "bystander-process"].map((name) => join(SUPPORT, `${name}.ts`)),
    outdir: folder,
    bundle: true,
    splitting: true,
    platform: "node",
    format: "esm",
    target: "node20",
    banner: { js: 'import { createRequire as requireFrom } from "node:module"; const require = requireFrom(import.meta.url);' },
    logLevel: "warning",
  })
  process.env["MQTT_TEST_PROGRAMS"] = folder
}

export function teardown() {
  if (folder !== "") rmSync(folder, { recursive: true, force: true })
}
