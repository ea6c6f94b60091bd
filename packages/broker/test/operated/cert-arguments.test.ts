import { readdirSync } from "node:fs"
import { runCli, temporaryFolder } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"

describe("wrong arguments: exit code 2, and no folder", () => {
  const more = "is more than the name or address of a host"
  test.each([
    ["http://broker.home", `error: "http://broker.home" ${more}\nhint: give it alone: broker.home\n`],
    ["broker.home:8883", `error: "broker.home:8883" ${more}\nhint: give it alone: broker.home\n`],
    ["a b", 'error: host "a b" is neither a name nor an address'],
    ["mqtts://broker.home:8883/x", `error: "mqtts://broker.home:8883/x" ${more}\nhint: give it alone: broker.home\n`],
    ["mqtts://u:p@[fd00::5]", `error: "mqtts://u:p@[fd00::5]" ${more}\nhint: give it alone: fd00::5\n`],
    ["[fd00::5]:1883", `error: "[fd00::5]:1883" ${more}\nhint: give it alone: fd00::5\n`],
    ...["0.0.0.0", "::", "0:0::0", "224.0.0.1", "255.255.255.255", "ff02::1"].map((address): [string, string] => [
      address,
      `error: "${address}" is an address under which no client reaches a broker`,
    ]),
    ["-a.home", "error: unknown option"],
    ["a..home", 'error: "a..home" is neither the name nor the address of a host'],
    ["a.*.home", 'error: "a.*.home" is neither the name nor the address of a host'],
    ["fe80::1%eth0", 'error: "fe80::1%eth0" is neither the name nor the address of a host'],
    [`${"a".repeat(64)}.home`, `error: "${"a".repeat(64)}.home" is neither the name nor the address of a host`],
    ["--days=0", 'error: --days: the number of days "0" is not a whole number from 1 to 36500'],
    [`--client=${"a".repeat(65)}`, `error: --client: the client's name "${"a".repeat(65)}" is too long`],
    ["--client=", "error: --client: the value is empty"],
    ["--dir=", "error: --dir: the value is empty"],
  ])("%s", async (argument, stderr) => {
    const cwd = temporaryFolder()
    const result = await runCli("mqtt-broker", ["cert", argument], { cwd })
    expect([result.code, result.stdout]).toEqual([2, ""])
    expect(result.stderr.slice(0, stderr.length)).toBe(stderr)
    expect(readdirSync(cwd)).toEqual([])
  })
})
