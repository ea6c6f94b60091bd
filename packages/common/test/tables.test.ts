import { describe, expect, it } from "vitest"
import { connectionOptions, longFlag, normalizeArguments, shortFlag } from "@mqtt-trio/common"

const specs = Object.entries(connectionOptions)

describe("the table of connection options", () => {
  it("has each flag, alias and environment variable once", () => {
    const flags = specs.flatMap(([, spec]) => [longFlag(spec), shortFlag(spec) ?? [], spec.aliases ?? []].flat())
    expect(flags).toEqual([...new Set(flags)])
    const variables = specs.flatMap(([, spec]) => spec.env ?? [])
    expect(variables).toEqual([...new Set(variables)])
  })

  it.each(specs)("%s: every alias stands for the long flag", (_key, spec) => {
    for (const alias of spec.aliases ?? []) {
      expect(normalizeArguments([alias, "1"], connectionOptions)).toEqual([longFlag(spec), "1"])
      if (spec.kind !== "flag") expect(normalizeArguments([`${alias}=1`], connectionOptions)).toEqual([`${longFlag(spec)}=1`])
    }
    expect(spec.help).toMatch(/^[^A-Z]|^(TLS|WebSocket|MQTT|SOCKS|QoS|ALPN|Keep Alive|OpenSSL|PEM)/)
  })
})
