import { defineConfig } from "vitest/config"
import { longestFirst } from "../tools/longest-first.mjs"

/** Compares times: runs once the others are done. */
const alone = ["test/start-up.test.ts"]

export default defineConfig({
  test: {
    globalSetup: "../tools/test-broker.mjs",
    sequence: { sequencer: longestFirst("robust-stream", "exact-bytes", "transports") },
    testTimeout: 60_000,
    hookTimeout: 60_000,
    projects: [
      // most tests wait for processes: more files at a time than there are cores
      { extends: true, test: { name: "tests", include: ["test/**/*.test.ts"], exclude: alone, maxWorkers: 3 } },
      { extends: true, test: { name: "alone", include: alone, maxWorkers: 1, sequence: { groupOrder: 1 } } },
    ],
  },
})
