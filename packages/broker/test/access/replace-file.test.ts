import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { runProcess, temporaryFolder } from "@mqtt-trio/testing"
import { expect, test } from "vitest"
import { replaceFile } from "../../src/access/replace-file.js"
import { BrokerError } from "../../src/errors.js"

const path = join(temporaryFolder(), "file")
const add = (text: string) => (content: Buffer | undefined) => Buffer.concat([content ?? Buffer.from("new "), Buffer.from(text)])

test("each change sees what the one before made, however many there are at once", async () => {
  await Promise.all(["a", "b", "c", "d"].map((letter) => replaceFile(path, add(letter))))
  expect(readFileSync(path, "utf8")).toMatch(/^new [abcd]{4}$/)
  expect(new Set(readFileSync(path, "utf8")).size).toBe(8)
})

test("a change that throws changes nothing, and nobody waits for it", async () => {
  writeFileSync(path, "before")
  const refused = new BrokerError("no-user", "refused")
  const failing = (): never => {
    throw refused
  }
  await expect(replaceFile(path, failing)).rejects.toBe(refused)
  expect([readFileSync(path, "utf8"), readdirSync(dirname(path))]).toEqual(["before", ["file"]])
  expect(await replaceFile(path, add(" and after"))).toEqual(Buffer.from("before and after"))
})

test("only a regular file is replaced", async () => {
  const pipe = join(temporaryFolder(), "pipe")
  expect(await runProcess("mkfifo", [pipe])).toMatchObject({ code: 0 })
  const message = `${JSON.stringify(pipe)} cannot be written: it is not a regular file`
  await expect(replaceFile(pipe, add("x"))).rejects.toMatchObject({ code: "access-unusable", message })
  expect(readdirSync(dirname(pipe))).toEqual(["pipe"])
})
