import { Readable } from "node:stream"
import * as fc from "fast-check"
import { expect, it } from "vitest"
import { splitLines } from "../src/lines.js"

async function split(chunks: readonly Uint8Array[]): Promise<Buffer[]> {
  const lines: Buffer[] = []
  for await (const batch of splitLines(Readable.from(chunks.map((chunk) => Buffer.from(chunk)))))
    lines.push(...batch.map((line) => Buffer.from(line)))
  return lines
}

const bytes = fc.uint8Array({ maxLength: 30 }).map((array) => array.map((byte) => (byte < 60 ? 0x0a : byte)))

it("however the bytes are cut into chunks, the lines are what lies between the line feeds", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(bytes, { maxLength: 8 }), async (chunks) => {
      const expected = Buffer.concat(chunks).toString("latin1").split("\n")
      // behind the last line feed there is no line
      if (expected.at(-1) === "") expected.pop()
      expect((await split(chunks)).map((line) => line.toString("latin1"))).toEqual(expected)
    }),
  )
})

it("knows an empty last line from no last line", async () => {
  expect(await split([])).toEqual([])
  expect(await split([Buffer.from("a\n")])).toEqual([Buffer.from("a")])
  expect(await split([Buffer.from("a\n\n")])).toEqual([Buffer.from("a"), Buffer.alloc(0)])
  expect(await split([Buffer.from("\n")])).toEqual([Buffer.alloc(0)])
})
