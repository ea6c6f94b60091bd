import { readdirSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { runProcess, temporaryFolder } from "@mqtt-trio/testing"
import { expect, test } from "vitest"

const CONTENDERS = 8
const SECONDS = 5
const SCRIPT = fileURLToPath(new URL("support/folder-contender.mjs", import.meta.url))

/** One process after the other, each until it is killed or the time is over. Returns what they printed. */
async function contenders(folder: string): Promise<string[]> {
  const lines: string[] = []
  for (const end = performance.now() + SECONDS * 1000; performance.now() < end;) {
    const { stdout, stderr } = await runProcess(process.execPath, [SCRIPT, folder, String((end - performance.now()) / 1000)])
    expect(stderr).toBe("")
    lines.push(...stdout.trimEnd().split("\n"))
  }
  return lines
}

test("a folder has one owner at a time, whoever comes, goes and is killed; one socket is left", async () => {
  const folder = temporaryFolder()
  const lines = (await Promise.all(Array.from({ length: CONTENDERS }, async () => contenders(folder)))).flat()
  expect(lines.filter((line) => line === "robbed")).toEqual([])
  expect(lines.filter((line) => line === "held").length).toBeGreaterThan(CONTENDERS)
  expect(readdirSync(folder).filter((name) => name.endsWith(".sock"))).toHaveLength(1)
})
