import { defineConfig, type TestProjectConfiguration } from "vitest/config"

const files = (...names: string[]): string[] => names.map((name) => `test/${name}.test.ts`)

/** Ask the broker's logic and not the version of Node.js: long, and left out where only that is different. */
const searches = files("stored/torture", "model/model", "stored/torture-power-cut")
/** Measure times that the other tests' load would spoil: one by one once the others are done. */
const alone = files(
  "bystander/guessing",
  "bystander/rate",
  "bystander/slow-subscriber",
  "bystander/stuck-clients",
  "bystander/tls-crowd",
  "delivered/retained-lookup",
)

/** Sends and reads packets as they are: once more through the other doors. */
const packets = files("standard/*", "bystander/fuzz", "bystander/hostile-input", "bystander/limits", "delivered/*")

/** The same tests through a listener of another kind; most bytes are hostile ones anyway, so fewer of those. */
const door = (kind: string): TestProjectConfiguration => {
  const env = { MQTT_TEST_DOOR: kind, MQTT_TEST_FUZZ: "1500" }
  return { extends: true, test: { name: kind, include: packets, exclude: alone, env, maxWorkers: 3, sequence: { groupOrder: 1 } } }
}

export default defineConfig({
  test: {
    testTimeout: 60_000,
    hookTimeout: 60_000,
    projects: [
      // most tests wait for processes and disks: more files at a time than there are cores
      { extends: true, test: { name: "tests", include: files("**/*"), exclude: [...searches, ...alone], maxWorkers: 3 } },
      { extends: true, test: { name: "searches", include: searches, maxWorkers: 2, sequence: { groupOrder: 2 } } },
      { extends: true, test: { name: "alone", include: alone, maxWorkers: 1, sequence: { groupOrder: 3 } } },
      ...["mqtts", "ws", "wss"].map(door),
    ],
  },
})
