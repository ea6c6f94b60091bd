import { join } from "node:path"
import { cliPath, freePort, temporaryFolder } from "@mqtt-trio/testing"
import { expect, test } from "vitest"
import { TorturedBroker, torture, type TortureReport } from "@mqtt-trio/torture"
import { compileDisk, diskEnvironment, hasCompiler, tinyJournal, type DiskOptions } from "../support/misbehaving-disk.js"

const LIMIT_MS = 240_000

/** Kills the broker and gives it, for its next life, its files as a power cut would leave them. */
async function cutPower(rounds: number, disk: DiskOptions, small: Record<string, string> = {}): Promise<TortureReport> {
  const folder = temporaryFolder()
  const [store, image] = [join(folder, "store"), join(folder, "image")]
  const environment = Object.entries({ ...diskEnvironment(compileDisk(), { ...disk, image }), ...small }).map(
    ([name, value]) => `${name}='${value}'`,
  )
  const port = await freePort()
  const broker = `${process.execPath} ${cliPath("mqtt-broker")} start --port ${port} --store file:${store}`
  const script = [
    `if [ -d ${image} ]; then rm -rf ${store} ${image}/.new-* && cp -r ${image} ${store}; fi`,
    `exec env ${environment.join(" ")} ${broker}`,
  ]
  const target = new TorturedBroker({ host: "127.0.0.1", port }, ["/bin/sh", "-c", script.join("\n")])
  const seed = Math.floor(Math.random() * 2 ** 32)
  return torture([target], {
    shape: "all",
    rounds,
    acknowledgements: 10_000,
    publishers: 6,
    subscribers: 10,
    sessions: 200,
    qos: 1,
    signal: "KILL",
    seed,
  })
}

test.runIf(hasCompiler()).each([
  ["which leaves nothing that was not synced", {}, {}],
  [
    "which leaves some of the sectors that were not synced, with folds and new segments all the time",
    { tear: "random" },
    tinyJournal(64 << 10),
  ],
] as const)(
  "what was acknowledged survives a power cut %s",
  async (_, disk, small) => {
    const { verdict } = await cutPower(8, disk, small)
    expect(verdict).toMatchObject({ clean: true, firstCopies: verdict.expected })
    expect(verdict.acknowledged).toBeGreaterThan(5000)
  },
  LIMIT_MS,
)

test.runIf(hasCompiler())(
  "a disk that only claims to sync is found out: the test above can fail",
  async () => {
    const { verdict } = await cutPower(3, { lieAfter: 10 })
    expect(verdict.anomalies.map(({ kind }) => kind)).toEqual(expect.arrayContaining(["missing", "sessionLost"]))
  },
  LIMIT_MS,
)
