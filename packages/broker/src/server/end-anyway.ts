import { setTimeout as after } from "node:timers/promises"

/** What is to be written before the end is written by then, in ms. */
const SOON_MS = 100

/**
 * Ends a process that would not end by itself, with `process.exitCode`. While a thread waits for a disk that hangs, exit() would
 * wait for the thread: then the process becomes another one that ends at once, or, where Node.js cannot do that (before 22.15),
 * ends by SIGKILL.
 */
export async function endAnyway({ isStuck }: { isStuck: boolean }): Promise<void> {
  await after(SOON_MS)
  if (!isStuck) process.exit() // oxlint-disable-line unicorn/no-process-exit -- the end of the loop would wait for a lock of the store's library
  const execve: unknown = Reflect.get(process, "execve")
  if (typeof execve === "function") Reflect.apply(execve, process, ["/bin/sh", ["sh", "-c", `exit ${process.exitCode ?? 0}`]])
  process.kill(process.pid, "SIGKILL")
}
