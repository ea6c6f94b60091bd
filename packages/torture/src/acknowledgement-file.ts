import { closeSync, openSync, writeSync } from "node:fs"

/** Every acknowledgement, a line each: stream number and message number. It outlives a torture that is killed itself. */
export class AcknowledgementFile {
  private readonly file: number

  /** Creates or empties the file. */
  constructor(path: string) {
    this.file = openSync(path, "w")
  }

  /** Returns when the operating system has the lines. */
  append(entries: readonly { stream: number; n: number }[]): void {
    writeSync(this.file, entries.map(({ stream, n }) => `${stream} ${n}\n`).join(""))
  }

  close(): void {
    closeSync(this.file)
  }
}
