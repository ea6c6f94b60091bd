import { describe } from "vitest"
import { compileDisk, diskEnvironment, hasCompiler } from "../support/misbehaving-disk.js"
import { bears } from "./bounds.js"

bears("one PUBLISH of 1 MB that 8,192 filters of an absent session match")
bears("PUBLISH of 1 MB that 8,192 filters of a connected session match")
bears("filters of 100 levels of many persistent sessions", { leaves: true })
bears("filters of 60 kB", { stopped: true })
bears("sessions with 10,000 filters that are made and discarded")
bears("topics that 4,096 filters match")

describe.runIf(hasCompiler())("each sync takes 300 ms longer", () => {
  const env = diskEnvironment(compileDisk(), { delayMs: 300 })
  bears("SUBSCRIBE and UNSUBSCRIBE of new filters on a slow disk", { env, slowDisk: true })
  bears("small messages to two topics in turn that 8,192 filters match, on a slow disk", { env, slowDisk: true })
})
