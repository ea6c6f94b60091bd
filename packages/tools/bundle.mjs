// Bundles a command into dist/bundle, so that it starts fast and needs nothing from elsewhere. Run in the folder of its package,
// with arguments of a typical run.
import { spawnSync } from "node:child_process"
import { copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { build, transform } from "esbuild"
import { licensesOf, packageFolders } from "./licenses.mjs"

const OUT = "dist/bundle"

/** In Node.js MQTT.js needs neither a second implementation of streams nor timers of web workers. */
const replacements = { "readable-stream": "node:stream", "worker-timers": "node:timers" }

const TARGET = "node20"

/** Node.js starts CommonJS modules faster than ES modules. Names stay: to restore them would cost time at each start. */
const asCommonJs = {
  format: "cjs",
  platform: "node",
  target: TARGET,
  supported: { "dynamic-import": false }, // a script that is compiled ahead has none
  minifyWhitespace: true,
  minifySyntax: true,
  define: { "import.meta.url": "bundleUrl" },
  banner: 'const bundleUrl=require("node:url").pathToFileURL(__filename);',
  legalComments: "none",
}

rmSync(OUT, { recursive: true, force: true })
mkdirSync(OUT, { recursive: true })
const { metafile, outputFiles } = await build({
  entryPoints: ["src/cli.ts"],
  outdir: OUT,
  outExtension: { ".js": ".cjs" },
  write: false,
  bundle: true,
  splitting: true, // what few runs need (proxies, TLS, WebSocket) is loaded when it is needed
  platform: "node",
  format: "esm",
  target: TARGET,
  metafile: true,
  alias: replacements,
  external: ["bufferutil", "utf-8-validate"],
  logLevel: "warning",
})
for (const { path, text } of outputFiles) writeFileSync(path, (await transform(text, asCommonJs)).code)
copyFileSync(new URL("start.cjs", import.meta.url), join(OUT, "start.cjs"))
// what a run needs until it connects is compiled ahead: nobody listens on port 1
const compile = 'const start = require("./start.cjs"); start.compile(); start.run()'
spawnSync(process.execPath, ["-e", compile, "--", "cli", ...process.argv.slice(2), "-L", "mqtt://127.0.0.1:1"], {
  cwd: OUT,
  stdio: "ignore",
})
if (!existsSync(join(OUT, "cli.compiled"))) throw new Error("the bundle could not be compiled ahead")
writeFileSync(join(OUT, "THIRD-PARTY-LICENSES.txt"), licensesOf(packageFolders(Object.keys(metafile.inputs))))
