import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

const README = fileURLToPath(new URL("../../../README.md", import.meta.url))

/** What stands between two markers of the root README, and what the code says should stand there. */
export interface ReadmeSection {
  readonly actual: string
  readonly expected: string
}

/**
 * Reads the text between `<!-- NAME -->` and `<!-- /NAME -->` in the root README, and what was generated for it, both without the
 * padding of table cells that a formatter adds. With UPDATE_README set in the environment the generated text is written there first.
 * Throws when the README or its markers are missing.
 */
export function readmeSection(name: string, generated: string): ReadmeSection {
  const begin = `<!-- ${name} -->`
  const markdown = existsSync(README) ? readFileSync(README, "utf8") : ""
  const start = markdown.indexOf(begin) + begin.length
  const end = markdown.indexOf(`<!-- /${name} -->`)
  if (start < begin.length || end < start) throw new Error(`the README has no section between ${begin} and <!-- /${name} -->`)
  if ((process.env["UPDATE_README"] ?? "") === "") return { actual: plain(markdown.slice(start, end)), expected: plain(generated) }
  writeFileSync(README, `${markdown.slice(0, start)}\n\n${generated}\n\n${markdown.slice(end)}`)
  return { actual: plain(generated), expected: plain(generated) }
}

/** True when there is a README to compare with. */
export function hasReadme(): boolean {
  return existsSync(README)
}

function plain(markdown: string): string {
  return markdown.trim().replaceAll(/ +/g, " ").replaceAll(/-{2,}/g, "-").replaceAll("| ", "|").replaceAll(" |", "|")
}
