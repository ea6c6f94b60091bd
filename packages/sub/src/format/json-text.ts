/** JSON without the white space between its tokens, on one line; numbers, strings and the order of members stay as they are written. */
export function compactJson(text: string): string {
  return [...tokens(text)].join("")
}

/** JSON over several lines in the layout of mosquitto's `--pretty`: tabs, a tab after the colon, arrays of scalars on one line. */
export function prettyJson(text: string): string {
  const open: string[] = []
  const lines: string[] = []
  let before = ""
  for (const token of tokens(text)) {
    const within = open.at(-1)
    if (token === "}" || token === "]") open.pop()
    const tabs = "\t".repeat(open.length)
    if (token === "}") lines.push(before === "{" ? "" : "\n", tabs, token)
    else if (token === "{") lines.push("{\n")
    else if (token === ":") lines.push(":\t")
    else if (token === ",") lines.push(within === "{" ? ",\n" : ", ")
    else lines.push(within === "{" && before !== ":" ? tabs : "", token)
    if (token === "{" || token === "[") open.push(token)
    before = token
  }
  return lines.join("")
}

/** The tokens of valid JSON. */
function* tokens(text: string): Generator<string> {
  const next = /[{}[\]:,"]|[^\s{}[\]:,"]+/g
  for (let match = next.exec(text); match !== null; match = next.exec(text)) {
    if (match[0] === '"') next.lastIndex = endOfString(text, match.index)
    yield text.slice(match.index, next.lastIndex)
  }
}

/** Where the string that begins at `start` is over; a quote after an odd number of backslashes belongs to it. */
function endOfString(text: string, start: number): number {
  for (let quote = text.indexOf('"', start + 1); ; quote = text.indexOf('"', quote + 1)) {
    let slashes = quote
    while (text[slashes - 1] === "\\") slashes -= 1
    if ((quote - slashes) % 2 === 0) return quote + 1
  }
}
