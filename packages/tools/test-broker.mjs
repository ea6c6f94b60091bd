// Vitest runs this before the tests of a package that start brokers: they get the broker as the archive has it, made of what is
// compiled in packages/broker/dist. Its starts are most of what such tests cost.
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { join, resolve } from "node:path"
import { bundleBroker } from "./bundle-broker.mjs"

const PACKAGE = resolve(import.meta.dirname, "../broker")
const CACHE = resolve(import.meta.dirname, "../../node_modules/.cache")
const LAUNCHER = "bin/mqtt-broker.js"
let folder = ""

export async function setup() {
  if (process.env["MQTT_TEST_BROKER"] !== undefined) return // made for another project of the same run
  mkdirSync(CACHE, { recursive: true })
  folder = mkdtempSync(join(CACHE, "mqtt-broker-"))
  chmodSync(folder, 0o755) // some tests start it as another user
  mkdirSync(join(folder, "bin"))
  for (const name of ["package.json", LAUNCHER]) copyFileSync(join(PACKAGE, name), join(folder, name))
  await bundleBroker(join(folder, "dist"), "dist")
  process.env["MQTT_TEST_BROKER"] = join(folder, LAUNCHER)
}

export function teardown() {
  if (folder !== "") rmSync(folder, { recursive: true, force: true })
}
