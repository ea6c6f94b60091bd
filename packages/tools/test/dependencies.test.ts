import { readFileSync } from "node:fs"
import { expect, test } from "vitest"

interface Locked {
  readonly link?: boolean
  readonly resolved?: string
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

const { packages }: { packages: Readonly<Record<string, Locked>> } = JSON.parse(
  readFileSync(new URL("../../../package-lock.json", import.meta.url), "utf8"),
)

/** Where npm finds a package that the one in `folder` asks for. */
function find(name: string, folder: string): string | undefined {
  for (let at = folder; ; at = at.replace(/(^|\/)[^/]*$/, "")) {
    const path = `${at === "" ? "" : `${at}/`}node_modules/${name}`
    const locked = packages[path]
    if (locked) return locked.link ? locked.resolved : path
    if (at === "") return undefined
  }
}

/** The names of all packages that installing one of the workspace brings. */
function installedWith(workspace: string): Set<string> {
  const names = new Set<string>()
  const add = (folder: string): void => {
    const { dependencies, optionalDependencies } = packages[folder] ?? {}
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
      const path = find(name, folder)
      if (path === undefined || names.has(name)) continue
      names.add(name)
      add(path)
    }
  }
  add(`packages/${workspace}`)
  return names
}

test("installing the broker's package installs no MQTT.js and no socks; the client's brings them", () => {
  const broker = installedWith("broker")
  for (const name of ["aedes", "lmdb", "commander", "chalk", "@mqtt-trio/torture"]) expect(broker).toContain(name)
  for (const name of ["mqtt", "socks", "@mqtt-trio/client", "@mqtt-trio/testing"]) expect(broker).not.toContain(name)
  expect([...installedWith("client")]).toEqual(expect.arrayContaining(["mqtt", "socks"]))
})

test("mqtt-pub and mqtt-sub are bundles: installing them installs nothing else", () => {
  for (const name of ["pub", "sub"]) expect(installedWith(name).size).toBe(0)
})
