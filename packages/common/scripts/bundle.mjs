// Bundles a command into dist/bundle, so that it starts fast and needs nothing from elsewhere. Run in the folder of its package.
import { readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { build } from "esbuild"

const OUT = "dist/bundle"

/** In Node.js MQTT.js needs neither a second implementation of streams nor timers of web workers. */
const replacements = { "readable-stream": "node:stream", "worker-timers": "node:timers" }

rmSync(OUT, { recursive: true, force: true })
const { metafile } = await build({
  entryPoints: ["src/cli.ts"],
  outdir: OUT,
  bundle: true,
  splitting: true,
  platform: "node",
  format: "esm",
  target: "node20",
  minify: true,
  keepNames: true,
  metafile: true,
  alias: replacements,
  external: ["bufferutil", "utf-8-validate"],
  banner: { js: 'import{createRequire as bundleRequire}from"node:module";const require=bundleRequire(import.meta.url);' },
  legalComments: "none",
  logLevel: "warning",
})
writeFileSync(join(OUT, "THIRD-PARTY-LICENSES.txt"), licenses(Object.keys(metafile.inputs)))

/** The licences of the packages whose code is in the bundle. */
function licenses(inputs) {
  const folders = new Set(
    inputs.map((path) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]).filter((path) => path !== undefined),
  )
  const notices = [...folders]
    .toSorted((a, b) => a.localeCompare(b))
    .map((folder) => {
      const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"))
      const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry))
      const text = file !== undefined ? readFileSync(join(folder, file), "utf8").trim() : `License: ${license}`
      return `${name} ${version} (${license})\n\n${text}\n`
    })
  return notices.join(`\n${"-".repeat(80)}\n\n`)
}
