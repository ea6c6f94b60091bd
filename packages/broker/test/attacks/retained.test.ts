import { describe } from "vitest"
import { compileDisk, diskEnvironment, hasCompiler } from "../support/misbehaving-disk.js"
import { bears } from "./bounds.js"

bears("retained topics of 100 levels", { leaves: true })
bears("small retained messages", { leaves: true })
bears("retained topics of 60 kB", { leaves: true })
bears("retained messages that are asked for and not read", { stopped: true })
bears("filters that 200,000 retained topics are looked through for, and none matches", { leaves: true })
bears("500 subscribers of 100,000 retained messages that never read")

describe.runIf(hasCompiler())("each sync takes 300 ms longer", () => {
  const env = diskEnvironment(compileDisk(), { delayMs: 300 })
  bears("retained messages that are overwritten on a slow disk", { env, slowDisk: true, leaves: true })
})
