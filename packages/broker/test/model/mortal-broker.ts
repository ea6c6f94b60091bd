import { rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { startBroker, temporaryFolder, type TestBroker } from "@mqtt-trio/testing"
import { afterEnd, compileDisk, diskEnvironment, hasCompiler, tinyJournal, type DeathPoint, type End } from "../support/misbehaving-disk.js"
import type { Death } from "./steps.js"

/** The real broker on a disk that tells it where to die. Its journal is so small that it is folded every few steps. */
export class MortalBroker {
  /** Where it died. */
  readonly deaths: DeathPoint[] = []
  private armed: DeathPoint | undefined

  private constructor(
    readonly broker: TestBroker,
    /** Whether there is such a disk: else it is only killed. */
    readonly hasDisk: boolean,
    private readonly folder: string,
  ) {}

  static async start(): Promise<MortalBroker> {
    const folder = temporaryFolder()
    const hasDisk = hasCompiler()
    const disk = hasDisk && diskEnvironment(compileDisk(), { die: join(folder, "die"), image: join(folder, "image"), tear: "random" })
    const env = { ...tinyJournal(1 << 10), ...disk }
    return new MortalBroker(await startBroker({ dir: folder, args: ["--log-level", "error"], env }), hasDisk, folder)
  }

  arm({ at, nth }: Death): void {
    this.armed = at
    if (this.hasDisk) writeFileSync(join(this.folder, "die"), `${at} ${nth}\n`)
  }

  disarm(): void {
    rmSync(join(this.folder, "die"), { force: true })
  }

  /** It died where it was told to. */
  noteDeath(): void {
    if (this.armed) this.deaths.push(this.armed)
  }

  /** Starts it again, when it is dead, on what is left of its store. */
  async restart(end: End): Promise<void> {
    if (this.hasDisk) afterEnd(end, { store: join(this.folder, "store"), image: join(this.folder, "image") })
    await this.broker.restart()
  }
}
