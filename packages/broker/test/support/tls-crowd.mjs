/*
 * Many clients over TLS that come at once: node tls-crowd.mjs PORT COUNT CAFILE. One line of JSON when all are connected and
 * subscribed to "crowd", with the time from the first byte to the CONNACK in ms; one when each has got a message. It is a
 * process of its own, so that its handshakes do not hold up whoever measures.
 */
import { readFileSync } from "node:fs"
import { connect } from "node:tls"

const [port, count] = process.argv.slice(2, 4).map(Number)
const ca = readFileSync(process.argv[4] ?? "")
const connacks = []
let subscribed = 0
let messages = 0

for (let n = 0; n < count; n++) join(n)

function join(n) {
  const from = performance.now()
  const socket = connect({ port, host: "127.0.0.1", ca }).setNoDelay()
  const id = Buffer.from(`crowd-${n}`)
  socket.write(Buffer.concat([Buffer.from([0x10, 12 + id.length, 0, 4]), Buffer.from("MQTT"), Buffer.from([4, 2, 0, 0, 0, id.length]), id]))
  socket.on("data", ([type, , , code]) => {
    if (type === 0x20 && code === 0) {
      connacks.push(performance.now() - from)
      socket.write(Buffer.concat([Buffer.from([0x82, 10, 0, 1, 0, 5]), Buffer.from("crowd"), Buffer.from([0])]))
    } else if (type === 0x90 && ++subscribed === count) tell({ connacks })
    else if (type === 0x30 && ++messages === count) tell({ messages })
  })
  socket.on("error", (error) => tell({ error: error.message }))
  socket.on("close", () => tell({ error: "closed" }))
}

function tell(news) {
  process.stdout.write(`${JSON.stringify(news)}\n`)
}
