import { describe, expect, it, test } from "vitest"
import { createDiagnostics, escapeControls, escapeJson, escapeLine, jsonLine } from "../src/index.js"

const SHOWN: [text: string, line: string][] = [
  ["plain é 漢 🦀", "plain é 漢 🦀"],
  ["a\nb\tc\rd", "a\\nb\\tc\\x0dd"],
  ["\u0000\u001b[31m\u007f\u009b", "\\x00\\x1b[31m\\x7f\\x9b"],
  ["\u202a\u202b\u202c\u202d\u202e", "\\u202a\\u202b\\u202c\\u202d\\u202e"],
  ["\u2066\u2067\u2068\u2069\u061c", "\\u2066\\u2067\\u2068\\u2069\\u061c"],
  ["\u200b\u200c\u200d\u200e\u200f\u2060\ufeff", "\\u200b\\u200c\\u200d\\u200e\\u200f\\u2060\\ufeff"],
  ["\u2028\u2029", "\\u2028\\u2029"],
  ["\ud800a\udc00", "\\ud800a\\udc00"],
  ["\u{e0041}", "\\u{e0041}"],
]

describe("text from elsewhere", () => {
  test.each(SHOWN)("%j in a line", (text, line) => {
    expect(escapeLine(text)).toBe(line)
  })

  it("keeps lines, tabs and joiners where it is shown as a text", () => {
    expect(escapeControls("a\nb\t👩\u200d🚀\u202e\u001b")).toBe("a\nb\t👩\u200d🚀\\u202e\\x1b")
  })

  test.each(SHOWN)("%j as JSON is the same value, with nothing hidden in it", (text) => {
    const json = jsonLine({ text })
    expect(JSON.parse(json)).toEqual({ text })
    expect(escapeControls(json)).toBe(json)
    expect(escapeJson(json)).toBe(json)
  })

  it("makes no lines of its own in what a command says", () => {
    let written = ""
    const sink = { write: (text: string): void => void (written += text) }
    const diagnostics = createDiagnostics({ debug: true }, sink)
    diagnostics.note("a\nerror: b")
    diagnostics.warn("a\nerror: b")
    diagnostics.debug("a\nerror: b")
    expect(written).toBe("a\\nerror: b\nwarning: a\\nerror: b\na\\nerror: b\n")
  })
})
