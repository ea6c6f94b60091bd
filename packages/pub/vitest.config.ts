import { defineConfig } from "vitest/config"

/** Compares times: runs once the others are done. */
const alone = ["test/start-up.test.ts"]

export default defineConfig({
  test: {
    testTimeout: 60_000,
    hookTimeout: 60_000,
    projects: [
      { extends: true, test: { name: "tests", include: ["test/**/*.test.ts"], exclude: alone } },
      { extends: true, test: { name: "alone", include: alone, sequence: { groupOrder: 1 } } },
    ],
  },
})
