import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

/** What stands between two markers of a document, and what the code says should stand there. */
export interface ReadmeSection {
  readonly actual: string
  readonly expected: string
}

/**
 * Reads the text between `<!-- NAME -->` and `<!-- /NAME -->` in a document, and what was generated for it, both without the
 * padding of table cells that a formatter adds. With UPDATE_README set in the environment the generated text is written there first.
 * Throws when the document or its markers are missing.
 * @param file its path from the root of this repository: `packages/pub/README.md`
 */
export function readmeSection(file: string, name: string, generated: string): ReadmeSection {
  const path = fileURLToPath(new URL(`../../../${file}`, import.meta.url))
  const begin = `<!-- ${name} -->`
  const markdown = existsSync(path) ? readFileSync(path, "utf8") : ""
  const start = markdown.indexOf(begin) + begin.length
  const end = markdown.indexOf(`<!-- /${name} -->`)
  if (start < begin.length || end < start) throw new Error(`${file} has no section between ${begin} and <!-- /${name} -->`)
  if ((process.env["UPDATE_README"] ?? "") === "") return { actual: plain(markdown.slice(start, end)), expected: plain(generated) }
  writeFileSync(path, `${markdown.slice(0, start)}\n\n${generated}\n\n${markdown.slice(end)}`)
  return { actual: plain(generated), expected: plain(generated) }
}

function plain(markdown: string): string {
  return markdown.trim().replaceAll(/ +/g, " ").replaceAll(/-{2,}/g, "-").replaceAll("| ", "|").replaceAll(" |", "|")
}
