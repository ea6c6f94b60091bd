import { expect, it } from "vitest"
import { runCli, spawnCli, startScriptedBroker } from "@mqtt-trio/testing"

/** Answers what comes as `answers` says, by the type of the packet, and nothing else. */
async function answering(answers: Readonly<Record<number, string>>): Promise<string> {
  const broker = await startScriptedBroker(({ type, bytes }, socket) => {
    const answer = answers[type]
    if (answer !== undefined) socket.write(Buffer.from(answer.replace("ID", bytes.toString("hex", 2, 4)), "hex"))
  })
  return String(broker.port)
}

const CONNACK = { 1: "2003000000" }
const SUBACK = { ...CONNACK, 8: "9004ID0001" }
const TIMED_OUT = 27

it.each([
  ["SUBACK", ["t"], CONNACK, "SUBSCRIBE"],
  ["SUBACK, and then for messages", ["t", "-C", "1"], CONNACK, "SUBSCRIBE"],
  ["UNSUBACK", ["t", "-U", "t"], SUBACK, "UNSUBSCRIBE"],
] as const)("one signal, or the timeout, ends the wait for %s", async (_what, args, answers, last) => {
  const silent = await answering(answers)
  const common = ["-V", "5", "-d"]
  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const) {
    const running = spawnCli("mqtt-sub", ["-p", silent, ...args, ...common])
    await running.waitForLine(`sent ${last}`, { stream: "stderr" })
    running.child.kill(signal)
    expect(await running.waitForEnd(4000)).toEqual({ code, signal: null })
    expect(running.stderr).toContain("sent DISCONNECT")
  }
  const timed = await runCli("mqtt-sub", ["-p", silent, ...args, ...common, "-W", "500ms"])
  expect(timed).toMatchObject({
    code: TIMED_OUT,
    stderr: expect.stringContaining("error: timed out before the subscription was acknowledged"),
  })
})
