import { PACKET } from "@mqtt-trio/torture"
import type { Attack, Siege } from "../support/siege.js"
import { packet, publish, subscribe, word } from "../support/wire.js"

/** Retained messages at QoS 0, as fast as they are read, from several connections. */
async function retain(siege: Siege, count: number, message: (n: number) => { topic: string; bytes: number }): Promise<void> {
  let next = 0
  await siege.each(4, async (k) => {
    const publisher = await siege.join({ clientId: `retainer-${k}` })
    while (next < count) {
      const block: Buffer[] = []
      for (let bytes = 0; bytes < 65_536 && next < count; bytes += block.at(-1)?.length ?? 0) {
        const one = message(next++)
        block.push(publish(4, { topic: one.topic, retain: true, payload: Buffer.alloc(one.bytes, "x") }))
      }
      if (!(await publisher.write(Buffer.concat(block)))) return
    }
    // what was sent before is accepted when this is answered
    if (await publisher.write(PINGREQ)) await publisher.got(PACKET.pingresp, 1)
  })
}

function deepTopic(n: number): string {
  return `${n.toString(36)}${"/x".repeat(99)}`
}

/** The same 250 MB of retained messages again and again. */
async function overwrite(siege: Siege): Promise<void> {
  await retain(siege, Infinity, (n) => ({ topic: `over/${n % 2500}`, bytes: 100_000 }))
}

/** What asks for retained messages and does not read them: each filter that was ever asked for waits. */
async function askWithoutReading(siege: Siege): Promise<void> {
  await siege.each(20, async (n) => {
    const client = await siege.join({ clientId: `asker-${n}` })
    await client.write(subscribe(4, 1, ["kept/#", 0]))
    await client.got(PACKET.suback, 1)
    client.freeze()
    await client.flood((k) => {
      const filter = `kept/${k}-`.padEnd(60_000, "f")
      return Buffer.concat([subscribe(4, 2, [filter, 0]), packet(0xa2, word(3), filter)])
    })
  })
}

/** Topic Filters that lead past every retained message, and match none. */
async function walkAll(siege: Siege): Promise<void> {
  await siege.each(4, async (n) => {
    const client = await siege.join({ clientId: `walker-${n}` })
    await client.flood(() => subscribe(4, 1, ["+/+/none", 0]))
  })
}

async function subscribeToAllAndFreeze(siege: Siege): Promise<void> {
  for (const client of siege.assailants) {
    void client.write(subscribe(4, 1, ["#", 0]))
    client.freeze()
  }
}

const PINGREQ = Buffer.from([0xc0, 0])

/** What retained messages make grow. */
export const RETAINED: Record<string, Attack> = {
  "retained topics of 100 levels": {
    grows: "a node and a Map for each level of each topic",
    run: (siege) => retain(siege, Infinity, (n) => ({ topic: deepTopic(n), bytes: 1 })),
  },
  "small retained messages": {
    grows: "what a topic costs beside its few bytes",
    run: (siege) => retain(siege, Infinity, (n) => ({ topic: n.toString(36), bytes: 1 })),
  },
  "retained topics of 60 kB": {
    grows: "the text of topics beside the messages, and what is not folded",
    run: (siege) => retain(siege, Infinity, (n) => ({ topic: `${n}-`.padEnd(60_000, "t"), bytes: 1 })),
  },
  "retained messages that are overwritten on a slow disk": {
    grows: "values of retained messages that gather, are being committed and are not folded",
    run: overwrite,
  },
  "retained messages that are asked for and not read": {
    grows: "Topic Filters of 60 kB whose retained messages wait to be sent",
    prepare: (siege) => retain(siege, 40, (n) => ({ topic: `kept/${n}`, bytes: 100_000 })),
    run: askWithoutReading,
  },
  "filters that 200,000 retained topics are looked through for, and none matches": {
    grows: "the time that a SUBSCRIBE takes, in one turn",
    prepare: (siege) => retain(siege, 200_000, (n) => ({ topic: `walk/${n}`, bytes: 1 })),
    run: walkAll,
  },
  "500 subscribers of 100,000 retained messages that never read": {
    grows: "1 MB of each that waits for its socket",
    prepare: (siege) => retain(siege, 100_000, (n) => ({ topic: `many/${n}`, bytes: 100 })),
    gather: async (siege) => {
      await siege.crowd(500, (n) => ({ clientId: `all-${n}` }))
    },
    run: subscribeToAllAndFreeze,
  },
}
