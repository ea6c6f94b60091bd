import { PACKET } from "@mqtt-trio/torture"
import type { Attack, Siege } from "../support/siege.js"
import { publish, subscribe } from "../support/wire.js"

const CLIENTS = 50
const BLOCKS = 6
const BLOCK = 100

/** Clients that publish to each other at QoS 1, to Clean Sessions and persistent ones, and some retained messages. */
async function work(siege: Siege): Promise<void> {
  await siege.each(CLIENTS, async (n) => {
    const subscriber = await siege.join({ clientId: `worker-${n}`, clean: n % 2 === 0 })
    const publisher = await siege.join({ clientId: `employer-${n}` })
    subscriber.willing = true
    await subscriber.write(subscribe(4, 1, [`work/${n}`, 1]))
    await subscriber.got(PACKET.suback, 1)
    await publisher.write(publish(4, { topic: `work/${n}/kept`, retain: true, payload: "x".repeat(100) }))
    for (let k = 1; k <= BLOCKS; k++) {
      const block = Array.from({ length: BLOCK }, (_, i) =>
        publish(4, { topic: `work/${n}`, qos: 1, packetId: i + 1, payload: "x".repeat(200) }),
      )
      if (!(await publisher.write(Buffer.concat(block))) || !(await publisher.got(PACKET.puback, k * BLOCK))) return
    }
    await subscriber.got(PACKET.publish | 2, BLOCKS * BLOCK)
  })
}

/** What a broker does all day: after it, its heap has the size that it has then. */
export const NORMAL_LOAD: Record<string, Attack> = {
  "normal load": { grows: "what work needs", prepare: work, run: work },
}
