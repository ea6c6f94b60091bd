import { readFileSync } from "node:fs"
import { CliError, messageOf, usageError } from "../errors.js"
import { bytesOf, quoted } from "../exact-text.js"
import { checkBinary } from "../text.js"

/** The password in a file (`-` is stdin): its first line. */
export function passwordFromFile(file: string): Buffer {
  try {
    const content = readFileSync(file === "-" ? 0 : bytesOf(file))
    return checkBinary(Buffer.from(content.toString("latin1").replace(/\r?\n[^]*$/, ""), "latin1"))
  } catch (error) {
    throw new CliError("usage", `cannot read the password from ${quoted(file)}: ${messageOf(error)}`, { cause: error })
  }
}

/** Asks for a password on the terminal without showing it. Throws a usage error when there is no terminal to ask on. */
export async function askPassword(prompt = "password: "): Promise<Buffer> {
  const { stdin, stderr } = process
  if (!stdin.isTTY)
    throw usageError("no terminal to ask for the password on", "use --password-file or the environment variable MQTT_PASSWORD")
  stdin.setRawMode(true) // before the prompt: what is typed as soon as it is there is not shown
  stdin.resume()
  stderr.write(prompt)
  try {
    return await readHidden()
  } finally {
    stdin.setRawMode(false)
    stderr.write("\n")
  }
}

function readHidden(): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let typed: number[] = []
    const end = (rest: Buffer, finish: () => void): void => {
      process.stdin.off("data", take)
      process.stdin.pause()
      if (rest.length > 0) process.stdin.unshift(rest) // what was pasted for the next question
      finish()
    }
    const take = (chunk: Buffer): void => {
      for (const [at, byte] of chunk.entries()) {
        const rest = chunk.subarray(at + 1)
        if (byte === 0x0d || byte === 0x0a || byte === 0x04) return end(rest, () => resolve(Buffer.from(typed)))
        if (byte === 0x03) return end(rest, () => reject(new CliError("interrupted", "interrupted")))
        typed = edited(typed, byte)
      }
    }
    process.stdin.on("data", take)
  })
}

/** What is typed after one more byte: Backspace takes a character back, Ctrl-W a word, Ctrl-U all, as terminals do. */
function edited(typed: readonly number[], byte: number): number[] {
  if (byte === 0x15) return []
  if (byte === 0x17)
    return typed.slice(
      0,
      typed.lastIndexOf(
        0x20,
        typed.findLastIndex((one) => one !== 0x20),
      ) + 1,
    )
  return byte === 0x7f || byte === 0x08 ? typed.slice(0, lastCharacter(typed)) : [...typed, byte]
}

/** Where the last character of UTF-8 bytes starts. */
function lastCharacter(bytes: readonly number[]): number {
  return Math.max(
    0,
    bytes.findLastIndex((byte) => (byte & 0xc0) !== 0x80),
  )
}
