import { rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { temporaryFolder, type TestBroker } from "@mqtt-trio/testing"
import { afterEnd, diskEnvironment, tinyJournal } from "./misbehaving-disk.js"
import type { Death, End, MortalStore } from "./mortal-store.js"

/** `file:` on a disk that tells the broker where to die. */
export class MortalDisk implements MortalStore {
  readonly options: MortalStore["options"]
  readonly hasPoints: boolean
  private readonly dir = temporaryFolder()

  /** @param library what compileDisk() returns; undefined: the broker is only killed */
  constructor(library: string | undefined, foldBytes: number) {
    this.hasPoints = library !== undefined
    const disk = library !== undefined && diskEnvironment(library, { die: this.die, image: this.image, tear: "random" })
    const env = { ...tinyJournal(foldBytes), ...disk }
    this.options = { dir: this.dir, env, args: ["--log-level", "error"] }
  }

  private get die(): string {
    return join(this.dir, "die")
  }

  private get image(): string {
    return join(this.dir, "image")
  }

  arm({ at, nth }: Death): void {
    if (this.hasPoints) writeFileSync(this.die, `${at} ${nth}\n`)
  }

  disarm(): void {
    rmSync(this.die, { force: true })
  }

  async restart(broker: TestBroker, end: End): Promise<void> {
    if (this.hasPoints) afterEnd(end, { store: join(this.dir, "store"), image: this.image })
    await broker.restart()
  }
}
