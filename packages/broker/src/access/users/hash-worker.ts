/* A thread that computes hashes of passwords, one after the other. */
import { readlinkSync } from "node:fs"
import { setPriority } from "node:os"
import { parentPort } from "node:worker_threads"
import { messageOf } from "@mqtt-trio/common"
import { matches, type PasswordHash } from "./password-hash.js"

/** What a thread is sent. */
export interface HashJob {
  readonly hash: PasswordHash
  readonly password: Uint8Array
}

/** What it answers: whether the password is right, or why that cannot be computed. */
export type HashAnswer = { readonly right: boolean } | { readonly failed: string }

/** So much less than the broker's other threads: these get a third of what one of them gets, if all want to run. */
const NICENESS = 5

yieldToOthers()
parentPort?.on("message", (job: HashJob) => {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, no window
  void answer(job).then((message) => parentPort?.postMessage(message))
})

async function answer({ hash, password }: HashJob): Promise<HashAnswer> {
  try {
    return { right: await matches(hash, password) }
  } catch (error) {
    return { failed: messageOf(error) }
  }
}

/** Linux has a priority for each thread, and says here which one this is. */
function yieldToOthers(): void {
  if (process.platform !== "linux") return
  try {
    setPriority(Number(readlinkSync("/proc/thread-self").split("/").at(-1)), NICENESS)
  } catch {
    // no /proc is mounted: then all are equal
  }
}
