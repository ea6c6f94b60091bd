// Makes one archive of the three commands that `npm install --global` takes alone and offline, on every platform for which
// LMDB is built. Prints its path. `npm run package -- [folder]`: where it goes, this folder by default.
import { execFileSync } from "node:child_process"
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { bundleBroker, NATIVE } from "./bundle-broker.mjs"
import { licensesOf, packageFolders } from "./licenses.mjs"

const ROOT = resolve(import.meta.dirname, "../..")
const COMMANDS = { broker: "mqtt-broker.js", pub: "mqtt-pub.cjs", sub: "mqtt-sub.cjs" }
/** what a package has for its builders only */
const SOURCES =
  /[\\/](\..*|src|dependencies|docs?|tests?|benchmark.*|.*test.*\.js|rollup\.config\.js|binding\.gyp|dict)$|\.(map|md|min\.js|d\.[cm]?ts)$/

const out = resolve(process.argv[2] ?? ".")
const { version, license, engines, description } = manifestOf(ROOT)
const stage = mkdtempSync(join(tmpdir(), "mqtt-package-"))
try {
  const bundled = await stageCommands()
  const native = stageNative()
  writeManifest(native)
  for (const file of ["LICENSE", "README.md"]) copyFileSync(join(ROOT, file), join(stage, file))
  writeFileSync(join(stage, "THIRD-PARTY-LICENSES.txt"), licensesOf(bundled))
  mkdirSync(out, { recursive: true })
  const name = execFileSync("npm", ["pack", "--silent", "--ignore-scripts", "--pack-destination", out], { cwd: stage, encoding: "utf8" })
  process.stdout.write(`${join(out, name.trim())}\n`)
} finally {
  rmSync(stage, { recursive: true, force: true })
}

/** The commands, each in a folder as in this repository; returns the folders of the packages whose code is in them. */
async function stageCommands() {
  for (const [name, launcher] of Object.entries(COMMANDS)) {
    const [from, to] = [join(ROOT, "packages", name), join(stage, "lib", name)]
    const { type } = manifestOf(from)
    mkdirSync(join(to, "bin"), { recursive: true })
    writeFileSync(join(to, "package.json"), json({ name, version, type }))
    copyFileSync(join(from, "bin", launcher), join(to, "bin", launcher))
    if (name !== "broker") cpSync(join(from, "dist/bundle"), join(to, "dist/bundle"), { recursive: true })
  }
  return packageFolders(await bundleBroker(join(stage, "lib/broker/dist"), "src"))
}

/** LMDB, the packages that it needs, and its builds for all platforms; returns the names. */
function stageNative() {
  const names = new Set()
  const add = (name, from) => {
    if (names.has(name)) return
    names.add(name)
    const folder = folderOf(name, from)
    const manifest = manifestOf(folder)
    const needed = Object.keys(manifest.dependencies ?? {}).filter((one) => one !== "node-addon-api") // for compiling
    const to = join(stage, "node_modules", name)
    cpSync(folder, to, { recursive: true, filter: (path) => !path.slice(folder.length).includes("node_modules") && !SOURCES.test(path) })
    const { scripts: _scripts, devDependencies: _dev, optionalDependencies: _optional, ...rest } = manifest
    writeFileSync(join(to, "package.json"), json({ ...rest, dependencies: Object.fromEntries(needed.map((one) => [one, "*"])) }))
    for (const one of needed) add(one, folder)
  }
  add(NATIVE, join(ROOT, "packages/broker"))
  const builds = manifestOf(folderOf(NATIVE, join(ROOT, "packages/broker"))).optionalDependencies
  for (const [name, wanted] of Object.entries(builds)) stageBuild(name, wanted)
  return [...names, ...Object.keys(builds)]
}

/** npm installs the build for the machine at hand only: the others come as archives. */
function stageBuild(name, wanted) {
  const to = join(stage, "node_modules", name)
  mkdirSync(to, { recursive: true })
  const here = join(ROOT, "node_modules", name)
  if (existsSync(here)) cpSync(here, to, { recursive: true })
  else {
    const archive = execFileSync("npm", ["pack", "--silent", "--prefer-offline", `${name}@${wanted}`], {
      cwd: stage,
      encoding: "utf8",
    }).trim()
    execFileSync("tar", ["-xzf", archive, "-C", to, "--strip-components=1"], { cwd: stage })
    rmSync(join(stage, archive))
  }
  // one archive for all: npm would refuse a package that is for another platform
  const { os: _os, cpu: _cpu, libc: _libc, ...manifest } = manifestOf(to)
  writeFileSync(join(to, "package.json"), json(manifest))
}

function writeManifest(native) {
  const versions = native.map((name) => [name, manifestOf(join(stage, "node_modules", name)).version])
  const bin = Object.entries(COMMANDS).map(([name, launcher]) => [`mqtt-${name}`, `lib/${name}/bin/${launcher}`])
  const manifest = { name: "mqtt-trio", version, description, license, engines, type: "module", bin: Object.fromEntries(bin) }
  const dependencies = Object.fromEntries(versions)
  writeFileSync(join(stage, "package.json"), json({ ...manifest, files: ["lib", "*.txt"], dependencies, bundleDependencies: native }))
}

function folderOf(name, from) {
  const [folder] = createRequire(join(from, "package.json"))
    .resolve.paths(name)
    .map((path) => join(path, name))
    .filter(existsSync)
  if (folder === undefined) throw new Error(`${name} is not installed; run npm ci`)
  return folder
}

function manifestOf(folder) {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8"))
}

function json(value) {
  return `${JSON.stringify(value, null, 2)}\n`
}
