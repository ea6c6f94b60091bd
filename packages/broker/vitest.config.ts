import { defineConfig, type UserWorkspaceConfig } from "vitest/config"
import { longestFirst } from "../tools/longest-first.mjs"

const longest = [
  "torture",
  "torture-power-cut",
  "model",
  "crash-points",
  "journal-recovery",
  "fuzz",
  "owners",
  "claim",
  "clock",
  "unanswered-wills",
  "hanging-disk",
  "head-room",
  "command-line",
  "browser",
  "mosquitto-bridge",
]

type Project = UserWorkspaceConfig & { extends: true; test: { name: string } }

const files = (...names: string[]): string[] => names.map((name) => `test/${name}.test.ts`)

/** Ask the broker's logic and not the version of Node.js: long, and left out where only that is different. */
const searches = files(
  "bystander/many-filters",
  "delivered/unanswered-wills",
  "model/model",
  "mongodb/owners",
  "mongodb/torture",
  "stored/bodies",
  "stored/clock",
  "stored/crash-points",
  "stored/full-disk",
  "stored/hanging-disk",
  "stored/head-room",
  "stored/journal-failures",
  "stored/journal-recovery",
  "stored/many-logs",
  "stored/repair",
  "stored/store-file",
  "stored/torture",
  "stored/torture-failing-disk",
  "stored/torture-power-cut",
)
/** Measure times, or what happens in a time, that the other tests' load would spoil: one by one once the others are done. */
const alone = files(
  "bystander/crowds",
  "bystander/guessing",
  "bystander/rate",
  "bystander/slow-reads",
  "bystander/slow-subscriber",
  "bystander/stuck-clients",
  "bystander/tls-crowd",
  "delivered/article",
  "delivered/retained-lookup",
)

/** What clients do that mean harm, one attack after the other, each of several seconds: measure too, once all others are done. */
const attacks = files("attacks/*")

/** What a door could change: how bytes come in pieces, how connections begin, end and are given up. */
const packets = files("standard/connect", "standard/disconnect", "standard/keep-alive", "standard/strict", "bystander/fuzz")
/** Heavy: through TLS, and through both. */
const hostile = files("bystander/hostile-input")
/** The promise and the limits, through TLS and WebSocket one behind the other. */
const promise = files(
  "bystander/limits",
  "delivered/delivery-qos",
  "delivered/in-flight",
  "delivered/qos2-*",
  "delivered/retained",
  "delivered/takeover",
  "delivered/wills",
)

/** Most tests wait for processes and disks: more files at a time than there are cores. */
const maxWorkers = 3

/** The same tests through a listener of another kind; the seeds of the hostile ones are the first of those that the plain port gets. */
const door = (kind: string, include: string[]): Project => {
  const env = { MQTT_TEST_DOOR: kind, MQTT_TEST_FUZZ: process.env["MQTT_TEST_FUZZ"] ?? "1000" }
  return { extends: true, test: { name: kind, include, env, maxWorkers } }
}

/** Of several `--project=!name` each leaves one out; Vitest by itself runs what any of them lets through, which is everything. */
const leaveOut = (projects: Project[]): Project[] => projects.filter(({ test }) => !process.argv.includes(`--project=!${test.name}`))

/** Half an hour of attacks, one by one, on a machine that does nothing else: only when asked for. */
const isAttacked = process.argv.includes("--project=attacks")

const attacked: Project = {
  extends: true,
  test: { name: "attacks", include: attacks, globalSetup: "../tools/test-programs.mjs", maxWorkers: 1, sequence: { groupOrder: 2 } },
}

export default defineConfig({
  test: {
    globalSetup: "../tools/test-broker.mjs",
    testTimeout: 60_000,
    hookTimeout: 60_000,
    sequence: { sequencer: longestFirst(...longest) },
    projects: leaveOut([
      { extends: true, test: { name: "tests", include: files("**/*"), exclude: [...searches, ...alone, ...attacks], maxWorkers } },
      { extends: true, test: { name: "searches", include: searches, maxWorkers } },
      { extends: true, test: { name: "alone", include: alone, maxWorkers: 1, sequence: { groupOrder: 1 } } },
      ...(isAttacked ? [attacked] : []),
      door("mqtts", [...packets, ...hostile]),
      door("ws", packets),
      door("wss", [...packets, ...hostile, ...promise]),
    ]),
  },
})
