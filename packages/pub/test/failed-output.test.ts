import { expect, it } from "vitest"
import { cliPath, runProcess, startBroker } from "@mqtt-trio/testing"

it.each([1, 2, 20])("%d numbers of --interval that cannot be printed are exit 7", async (count) => {
  const broker = await startBroker({ store: "memory:" })
  const command = `${process.execPath} ${cliPath("mqtt-pub")} -L ${broker.url} t x --interval 10 --repeat ${count} > /dev/full`
  const full = { code: 7, stderr: expect.stringContaining("error: cannot write the output: ENOSPC") }
  expect(await runProcess("bash", ["--norc", "-c", command])).toMatchObject(full)
})
