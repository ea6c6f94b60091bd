/*
 * Those who attack: node attack-process.js NAME PHASE SECONDS ADDRESS DOORS. Runs one phase of an attack, `prepare` or `run`, on
 * a broker; DOORS is JSON. A line of JSON says what became of them: of `prepare` when it is done, which ends the process, of `run`
 * when the time is over. Who attacks stays as it is until the process is killed.
 */
import { setPriority } from "node:os"
import { setTimeout as after } from "node:timers/promises"
import { ATTACKS } from "../attacks/attacks.js"
import { type Doors, Siege } from "./siege.js"

const [, , name = "", phase = "run", seconds = "5", address = "127.0.0.1", doorsText = "{}"] = process.argv

setPriority(10) // a real attacker takes no core from the broker
const doors: Doors = JSON.parse(doorsText)
const siege = new Siege(doors, address)
const attack = ATTACKS[name]
if (!attack) throw new Error(`there is no attack "${name}"`)
const time = after(Number(seconds) * 1000)
const finished = phase === "prepare" ? attack.prepare?.(siege) : attack.run(siege)
setTimeout(() => siege.mark(), (Number(seconds) - 1) * 1000).unref()
await Promise.race([finished, time])
if (phase === "run") await time
siege.over = true
process.stdout.write(`${JSON.stringify(siege.tally())}\n`)
// oxlint-disable-next-line unicorn/no-process-exit -- its sockets would keep it
if (phase === "prepare") process.exit()
setInterval(() => {}, 1000)
