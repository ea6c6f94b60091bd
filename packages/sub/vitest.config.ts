import { defineConfig } from "vitest/config"

export default defineConfig({
  // most tests wait for processes: more files at a time than there are cores
  test: {
    globalSetup: "../tools/test-broker.mjs",
    include: ["test/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxWorkers: 3,
    isolate: false,
  },
})
