import { spawnSync } from "node:child_process"
import { closeSync, openSync, writeSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { temporaryFolder } from "@mqtt-trio/testing"

const SOURCE = fileURLToPath(new URL("wall-clock.c", import.meta.url))

/** Compiles the library of the clock into a temporary folder and returns its path. It needs a C compiler: see hasCompiler(). */
export function compileClock(): string {
  const library = join(temporaryFolder(), "wall-clock.so")
  const flags = ["-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC"]
  const result = spawnSync("gcc", [...flags, "-o", library, SOURCE, "-ldl"])
  if (result.status !== 0) throw new Error(`wall-clock.c: ${result.stderr.toString()}`)
  return library
}

/** The wall clock of processes, which can be set while they run; see wall-clock.c. It shows the machine's time at first. */
export class WallClock {
  private readonly file = join(temporaryFolder(), "ahead")
  private ahead = 0

  /** @param library what compileClock() returned */
  constructor(private readonly library: string) {
    this.write("w")
  }

  /** The environment of the processes. */
  get env(): Record<string, string> {
    return { LD_PRELOAD: this.library, WALL_CLOCK: this.file }
  }

  /** What it shows, in ms since 1970. */
  get now(): number {
    return Date.now() + this.ahead
  }

  /** Sets it to a time. */
  set(time: number): void {
    this.ahead = time - Date.now()
    this.write("r+")
  }

  /** Sets it so many ms forward, or back. */
  turn(ms: number): void {
    this.set(this.now + ms)
  }

  private write(flags: "w" | "r+"): void {
    const file = openSync(this.file, flags) // never cut short: processes have it mapped
    writeSync(file, new Uint8Array(Float64Array.of(this.ahead).buffer), 0, 8, 0)
    closeSync(file)
  }
}
