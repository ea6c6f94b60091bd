import { PACKET } from "@mqtt-trio/torture"
import type { Attack, Siege } from "../support/siege.js"
import { publish, subscribe } from "../support/wire.js"

const BLOCKS = 5
const BLOCK = 100
const PAYLOAD = "x".repeat(1000)
/** How many work before anybody measures, so that V8's heap has the size that it has at work, and while somebody does. */
const ALL = 100
const FEW = 5

/** Clients that publish to each other at QoS 1, to Clean Sessions and persistent ones, and a retained message each. */
async function work(siege: Siege, clients: number): Promise<void> {
  await siege.each(clients, async (n) => {
    const subscriber = await siege.join({ clientId: `worker-${n}`, clean: n % 2 === 0 })
    const publisher = await siege.join({ clientId: `employer-${n}` })
    subscriber.willing = true
    await subscriber.write(subscribe(4, 1, [`work/${n}`, 1]))
    await subscriber.got(PACKET.suback, 1)
    await publisher.write(publish(4, { topic: `work/${n}/kept`, retain: true, payload: "x".repeat(100) }))
    for (let k = 1; k <= BLOCKS; k++) {
      const block = Array.from({ length: BLOCK }, (_, i) => publish(4, { topic: `work/${n}`, qos: 1, packetId: i + 1, payload: PAYLOAD }))
      if (!(await publisher.write(Buffer.concat(block))) || !(await publisher.got(PACKET.puback, k * BLOCK))) return
    }
    await subscriber.got(PACKET.publish | 2, BLOCKS * BLOCK)
  })
}

/** What a broker does all day. */
export const NORMAL_LOAD: Record<string, Attack> = {
  "normal load": { grows: "what work needs", prepare: (siege) => work(siege, ALL), run: (siege) => work(siege, FEW) },
}
