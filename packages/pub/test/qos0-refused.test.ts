import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { beforeAll, describe, expect, it } from "vitest"
import { runCli, startBroker, temporaryFolder } from "@mqtt-trio/testing"

let url: string
let big: string
beforeAll(async () => {
  url = (await startBroker({ store: "memory:" })).url
  big = join(temporaryFolder(), "big")
  writeFileSync(big, Buffer.alloc(1_200_000, "x"))
})

describe.each(["3.1.1", "5"])(
  "MQTT %s: a message at QoS 0 that the broker does not take is exit 6, or 5 where it says so first",
  (version) => {
    it.each([
      ["once", ["-f", "FILE"]],
      ["at an interval", ["-f", "FILE", "--interval", "300"]],
      ["several times", ["-f", "FILE", "--repeat", "3", "--repeat-delay", "200ms"]],
      ["as a line", ["-l"]],
    ])("%s", async (_how, args) => {
      const words = ["t", "-q", "0", "-V", version, "-L", url, ...args.map((arg) => (arg === "FILE" ? big : arg))]
      const result = await runCli("mqtt-pub", words, { stdin: Buffer.alloc(1_200_000, "x") })
      expect(result).toMatchObject({
        code: version === "5" ? 5 : 6,
        stderr: expect.stringMatching(/larger than the broker takes|takes packets up to 1048576/),
      })
    })
  },
)

it("what it takes is exit 0, without a word", async () => {
  expect(await runCli("mqtt-pub", ["t", "x", "-q", "0", "-V", "3.1.1", "-L", url])).toMatchObject({ code: 0, stderr: "" })
})
