import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { RunningProcess, runProcess, temporaryFolder } from "@mqtt-trio/testing"
import { expect, test } from "vitest"
import { Peer } from "./support/peer.js"
import { publish } from "./support/wire.js"

test("the package, as a user gets it: installs into an empty folder with npm and works there", { timeout: 240_000 }, async ({ skip }) => {
  const folder = temporaryFolder()
  for (const name of ["common", "torture", "broker"]) {
    const source = new URL(`../../${name}`, import.meta.url).pathname
    const packed = await runProcess("npm", ["pack", "--silent", "--pack-destination", folder], { cwd: source, timeoutMs: 60_000 })
    expect(packed).toMatchObject({ code: 0 })
  }
  const archives = readdirSync(folder)
    .filter((file) => file.endsWith(".tgz"))
    .map((file) => join(folder, file))
  const args = ["install", "--prefer-offline", "--no-audit", "--no-fund", "--prefix", folder, ...archives]
  // certificates that the machine trusts count, as for a user whose npm is set up
  const installed = await runProcess("npm", args, { cwd: folder, timeoutMs: 180_000, env: { NODE_USE_SYSTEM_CA: "1" } })
  if (process.env["CI"] === undefined) skip(/ENOTFOUND|EAI_AGAIN/.test(installed.stderr), "no package registry is reached")
  expect(installed.code, installed.stderr).toBe(0)
  const bin = join(folder, "node_modules", ".bin", "mqtt-broker")
  const manifest: unknown = JSON.parse(readFileSync(join(folder, "node_modules/@mqtt-trio/broker/package.json"), "utf8"))
  expect(manifest).toMatchObject({ version: (await runProcess(bin, ["--version"], { cwd: folder })).stdout.trim() })

  const broker = new RunningProcess(bin, ["start", "--port", "0", "--store", `file:${folder}/store`, "--json"], { cwd: folder })
  const ready: { port: number } = JSON.parse(await broker.waitForLine(/ready/))
  const subscriber = await Peer.connected(ready.port, 4, { clientId: "away", clean: false })
  await subscriber.subscribe(["t", 1])
  const publisher = await Peer.connected(ready.port, 5)
  publisher.send(publish(5, { topic: "t", qos: 1, packetId: 1, payload: "stored" }))
  expect((await subscriber.nextPublish()).payload.toString()).toBe("stored")
  expect((await publisher.next())[0]).toBe(0x40)
})
