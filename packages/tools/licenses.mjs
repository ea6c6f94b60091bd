// The licences of other people's packages whose code is in a bundle.
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"

/** The folders of the packages that files come from. */
export function packageFolders(files) {
  const folders = files.map((path) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]).filter((path) => path !== undefined)
  return [...new Set(folders)].toSorted((a, b) => a.localeCompare(b))
}

/** Name, version and licence of each, as one text. */
export function licensesOf(folders) {
  const notices = folders.map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"))
    const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry))
    const text = file !== undefined ? readFileSync(join(folder, file), "utf8").trim() : `License: ${license}`
    return `${name} ${version} (${license})\n\n${text}\n`
  })
  return notices.join(`\n${"-".repeat(80)}\n\n`)
}
