import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { runProcess, startBroker, temporaryFolder } from "@mqtt-trio/testing"

describe.each(["pub", "sub"])("the package of mqtt-%s, as a user gets it", (name) => {
  it("installs into an empty folder with npm and works there, without anything of the workspace", async () => {
    const broker = await startBroker({ store: "memory:" })
    const folder = temporaryFolder()
    const source = new URL(`../../${name}`, import.meta.url).pathname
    const packed = await runProcess("npm", ["pack", "--silent", "--pack-destination", folder], { cwd: source, timeoutMs: 60_000 })
    expect(packed.code).toBe(0)
    const [archive = ""] = readdirSync(folder).filter((file) => file.endsWith(".tgz"))
    const installed = await runProcess(
      "npm",
      ["install", "--offline", "--no-audit", "--no-fund", "--prefix", folder, join(folder, archive)],
      { cwd: folder, timeoutMs: 120_000 },
    )
    expect(installed).toMatchObject({ code: 0 })
    const bin = join(folder, "node_modules", ".bin", `mqtt-${name}`)
    const args = name === "pub" ? ["test", "Hello"] : ["test", "-E"]
    expect(await runProcess(bin, [...args, "-L", broker.url], { cwd: folder })).toMatchObject({ code: 0, stdout: "", stderr: "" })
    expect((await runProcess(bin, ["--version"], { cwd: folder })).stdout).toBe("0.1.0\n")
    expect(readdirSync(join(folder, "node_modules")).filter((entry) => !entry.startsWith("."))).toEqual(["@mqtt-trio"])
    const licenses = readFileSync(join(folder, "node_modules/@mqtt-trio", name, "dist/bundle/THIRD-PARTY-LICENSES.txt"), "utf8")
    for (const bundled of ["mqtt 5.16.0", "commander 14.0.3", "chalk 5.6.2", "mqtt-packet "]) expect(licenses).toContain(bundled)
  })
})
