/*
 * Those who attack: node attack-process.js NAME PHASE SECONDS DOORS. Runs one phase of an attack, `prepare` or `run`, on
 * a broker; DOORS is JSON. `prepare` ends the process when it is done. Before `run` those gather who it takes; then the process
 * says so, and waits for a line of stdin. When the time is over, a line of JSON says what became of them, and they stay as they
 * are until the process is killed.
 */
import { once } from "node:events"
import { setTimeout as after } from "node:timers/promises"
import { ATTACKS } from "../attacks/attacks.js"
import { type Doors, Siege } from "./siege.js"

const [, , name = "", phase = "run", seconds = "5", doorsText = "{}"] = process.argv
const doors: Doors = JSON.parse(doorsText)
const siege = new Siege(doors)
const attack = ATTACKS[name]
if (!attack) throw new Error(`there is no attack "${name}"`)
if (phase === "prepare") {
  await Promise.race([attack.prepare?.(siege), after(Number(seconds) * 1000)])
  // oxlint-disable-next-line unicorn/no-process-exit -- its sockets would keep it
  process.exit()
}
await attack.gather?.(siege)
process.stdout.write("gathered\n")
await once(process.stdin, "data")
// oxlint-disable-next-line unicorn/no-process-exit -- whoever started it is gone
process.stdin.once("end", () => process.exit())
setTimeout(() => siege.mark(), (Number(seconds) - 1) * 1000)
const time = after(Number(seconds) * 1000)
await Promise.race([attack.run(siege), time])
await time
siege.over = true
process.stdout.write(`${JSON.stringify(siege.tally())}\n`)
