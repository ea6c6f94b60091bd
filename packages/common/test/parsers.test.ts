import { describe, expect, it } from "vitest"
import { parseBoolean, parseByteSize, parseDurationMs, parsePort, parseQos, parseSessionExpiry } from "@mqtt-trio/common"

describe("parsers", () => {
  it.each([
    ["500ms", "s", 500],
    ["10s", "ms", 10_000],
    ["1.5m", "s", 90_000],
    ["2h", "s", 7_200_000],
    ["1d", "s", 86_400_000],
    ["3", "s", 3000],
    ["3", "ms", 3],
    ["0.25", "s", 250],
  ] as const)("duration %s with bare unit %s is %d ms", (text, unit, expected) => {
    expect(parseDurationMs(text, unit)).toBe(expected)
  })

  it.each(["", "x", "-1", "1w", "1 s", "1e3", "."])("%j is no duration", (text) => {
    expect(() => parseDurationMs(text, "s")).toThrow(/is not a duration such as/)
  })

  it.each([
    ["512", 512],
    ["1KB", 1024],
    ["1.5k", 1536],
    ["16MB", 16 * 1024 * 1024],
    ["1gb", 1024 ** 3],
    ["7b", 7],
  ] as const)("size %s is %d bytes", (text, expected) => {
    expect(parseByteSize(text)).toBe(expected)
  })

  it.each(["", "MB", "1TB", "-1", "1 0"])("%j is no size", (text) => {
    expect(() => parseByteSize(text)).toThrow(/is not a size/)
  })

  it("ports are 1 to 65535, and 0 where any free one is wanted", () => {
    expect(parsePort("1")).toBe(1)
    expect(parsePort("65535")).toBe(65_535)
    expect(parsePort("0", true)).toBe(0)
    for (const text of ["0", "65536", "-1", "1.5", "", "80x", "0x50"]) expect(() => parsePort(text)).toThrow(/whole number from 1 to 65535/)
  })

  it("QoS, booleans and session expiry", () => {
    expect(["0", "1", "2"].map(parseQos)).toEqual([0, 1, 2])
    expect(() => parseQos("7")).toThrow('QoS "7" is not 0, 1 or 2')
    expect(["true", "1", "yes", "false", "0", "off"].map(parseBoolean)).toEqual([true, true, true, false, false, false])
    expect(() => parseBoolean("maybe")).toThrow(/neither true nor false/)
    expect(["never", "-1", "∞", "4294967295"].map(parseSessionExpiry)).toEqual(Array.from({ length: 4 }, () => 0xffff_ffff))
    expect(["0", "60", "1h"].map(parseSessionExpiry)).toEqual([0, 60, 3600])
  })
})
