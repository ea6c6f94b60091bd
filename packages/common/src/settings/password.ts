import { readFileSync } from "node:fs"
import { CliError, messageOf, usageError } from "../errors.js"

/** The password in a file (`-` is stdin): its first line. */
export function passwordFromFile(file: string): string {
  try {
    return readFileSync(file === "-" ? 0 : file, "utf8").replace(/\r?\n[^]*$/, "")
  } catch (error) {
    throw new CliError("usage", `cannot read the password from ${JSON.stringify(file)}: ${messageOf(error)}`, { cause: error })
  }
}

/** Asks for the password on the terminal without showing it. Throws a usage error when there is no terminal to ask on. */
export async function askPassword(): Promise<string> {
  const { stdin, stderr } = process
  if (!stdin.isTTY)
    throw usageError("no terminal to ask for the password on", "use --password-file or the environment variable MQTT_PASSWORD")
  stderr.write("password: ")
  stdin.setRawMode(true)
  stdin.resume()
  try {
    return await readHidden()
  } finally {
    stdin.setRawMode(false)
    stdin.pause()
    stderr.write("\n")
  }
}

function readHidden(): Promise<string> {
  return new Promise((resolve, reject) => {
    let typed = ""
    const end = (finish: () => void): void => {
      process.stdin.off("data", take)
      finish()
    }
    const take = (chunk: Buffer): void => {
      for (const char of chunk.toString()) {
        if (char === "\r" || char === "\n" || char === "\u0004") return end(() => resolve(typed))
        if (char === "\u0003") return end(() => reject(new CliError("interrupted", "interrupted")))
        typed = char === "\u007f" || char === "\b" ? typed.slice(0, -1) : typed + char
      }
    }
    process.stdin.on("data", take)
  })
}
