import { defineConfig } from "vitest/config"
import { longestFirst } from "../tools/longest-first.mjs"

export default defineConfig({
  // most tests wait for processes: more files at a time than there are cores
  test: {
    globalSetup: "../tools/test-broker.mjs",
    include: ["test/**/*.test.ts"],
    sequence: { sequencer: longestFirst("output", "subscribe", "failed-output") },
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxWorkers: 3,
  },
})
