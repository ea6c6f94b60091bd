import { existsSync, readdirSync, readFileSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { expect, test } from "vitest"

const ROOT = fileURLToPath(new URL("../../../../", import.meta.url))
const MOST_LINES = 180

const README = read("README.md")
const PACKAGES = readdirSync(join(ROOT, "packages"))

/** Every file of a folder of this repository and below it, as a path from the root, without what is installed or built. */
function filesIn(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (!entry.isDirectory()) return [path]
    return /^(node_modules|dist.*|\..*)$/.test(entry.name) ? [] : filesIn(path)
  })
}

const FILES = filesIn("packages")
const DOCUMENTS = ["README.md", ...FILES.filter((path) => path.endsWith(".md"))]

function read(path: string): string {
  return readFileSync(join(ROOT, path), "utf8")
}

function matches(text: string, pattern: RegExp): string[] {
  return [...text.matchAll(pattern)].map(([, found = ""]) => found)
}

/** As GitHub makes an anchor of a heading. */
function anchor(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\w -]/g, "")
    .replaceAll(" ", "-")
}

function hasTarget(document: string, link: string): boolean {
  const [file = "", heading] = link.split("#")
  const path = file === "" ? document : join(dirname(document), file)
  if (!existsSync(join(ROOT, path))) return false
  return heading === undefined || matches(read(path), /^#+ (.*)$/gm).some((text) => anchor(text) === heading)
}

/** As documents name a file or a folder: by its path from the root, or a part of it. */
function isThere(path: string): boolean {
  return existsSync(join(ROOT, path)) || FILES.some((file) => `${file}/`.includes(`/${path}/`))
}

/** The scripts of a package, by the name of the package, or of the root. */
function scriptsOf(name: string | undefined): string[] {
  const manifests = ["package.json", ...PACKAGES.map((folder) => `packages/${folder}/package.json`)].map(
    (path): { name: string; scripts: Record<string, string> } => JSON.parse(read(path)),
  )
  return Object.keys(manifests.find((manifest) => manifest.name === (name ?? "mqtt-trio"))?.scripts ?? {})
}

test(`the README has at most ${MOST_LINES} lines, and each package has one`, () => {
  expect(README.trimEnd().split("\n").length).toBeLessThanOrEqual(MOST_LINES)
  expect(PACKAGES.filter((name) => !existsSync(join(ROOT, "packages", name, "README.md")))).toEqual([])
})

test.each(DOCUMENTS)("%s: the files, links and scripts that it names are there", (document) => {
  const text = read(document)
  const links = matches(text, /\]\(([^)\s]+)\)/g).filter((link) => !/^https?:/.test(link))
  expect(links.filter((link) => !hasTarget(document, link))).toEqual([])
  const paths = matches(text, /`([\w.-]+(?:\/[\w.-]+)+|[\w-]+\.(?:ts|mjs|cjs|md|json|c))`/g)
  expect(paths.filter((path) => !isThere(path))).toEqual([])
  for (const [, script = "", workspace] of text.matchAll(/npm run (?:--silent )?([a-z:]+)(?: -w (@[\w-]+\/[\w-]+))?/g))
    expect(scriptsOf(workspace)).toContain(script)
})

test("the tests that the promise names are there", () => {
  const promise = README.slice(README.indexOf("## The promise"), README.indexOf("exceptions, all of them"))
  const named = matches(promise, /`([a-z][a-z0-9-]+)`/g)
  expect(named.length).toBeGreaterThan(8)
  const tests = FILES.filter((path) => /^packages\/[^/]+\/test\//.test(path)).map((path) => basename(path))
  expect(named.filter((name) => !tests.includes(`${name}.test.ts`))).toEqual([])
})

/** The three cells behind the first of each line of a table. */
function rows(text: string): string[] {
  return matches(text, /^\|[^|]+\|((?:[^|\n]+\|){3})/gm).map((cells) => cells.replaceAll(" ", ""))
}

test("each number of the README is a row of the benchmark's table", () => {
  const measured = rows(read("packages/broker/BENCHMARKS.md"))
  const shown = rows(README.slice(README.indexOf("<!-- bench -->"), README.indexOf("<!-- /bench -->"))).slice(2)
  expect(shown.length).toBe(8)
  expect(shown.filter((row) => !measured.includes(row))).toEqual([])
})
