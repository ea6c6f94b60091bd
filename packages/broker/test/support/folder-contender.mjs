// Takes a folder whenever it can, holds it for a moment, and goes on or dies by SIGKILL: node folder-contender.mjs FOLDER SECONDS
// A line on stdout for each time: "held", or "robbed" when another process had the folder meanwhile.
import { readFileSync, writeFileSync, writeSync } from "node:fs"
import { once } from "node:events"
import { join } from "node:path"
import { setTimeout as after } from "node:timers/promises"
import { lockFolder } from "../../dist/stores/folder-lock.js"

const [folder, seconds] = process.argv.slice(2)
const owner = join(folder, "owner")
const end = performance.now() + Number(seconds) * 1000

while (performance.now() < end) {
  const server = await lockFolder(folder).catch((error) => {
    if (error.code !== "store-in-use") throw error
  })
  if (server) {
    writeFileSync(owner, `${process.pid}`)
    await after(Math.random() * 4)
    writeSync(1, readFileSync(owner, "utf8") === `${process.pid}` ? "held\n" : "robbed\n")
    if (Math.random() < 0.2) process.kill(process.pid, "SIGKILL")
    server.close()
    await once(server, "close")
  }
  await after(Math.random() * 3)
}
