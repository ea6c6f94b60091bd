import { PACKET } from "@mqtt-trio/torture"
import type { Assailant } from "../support/assailant.js"
import type { Attack, Siege } from "../support/siege.js"
import { packet, publish, subscribe, word } from "../support/wire.js"

const MB = 1_000_000

/** All filters of so many levels that match `a/a/…`, each level literal or `+`. */
function everyWay(levels: number, end = ""): string[] {
  const way = (n: number): string => Array.from({ length: levels }, (_, k) => ((n >> k) & 1 ? "a" : "+")).join("/")
  return Array.from({ length: 1 << levels }, (_, n) => way(n) + end)
}

function deep(levels: number, first = "a"): string {
  return [first, ...Array.from({ length: levels - 1 }, () => "a")].join("/")
}

/** Subscribes at QoS 1 to one after the other, many in a packet; as far as it is let. */
async function subscribeAll(client: Assailant, filters: readonly string[], perPacket = 512): Promise<void> {
  for (let from = 0, packets = 1; from < filters.length; from += perPacket, packets++) {
    const some = filters.slice(from, from + perPacket).map((filter): [string, number] => [filter, 1])
    if (!(await client.write(subscribe(4, 1, ...some))) || !(await client.got(PACKET.suback, packets))) return
  }
}

/** One PUBLISH at QoS 1 after the other, each when the one before is acknowledged. */
async function publishOneByOne(siege: Siege, topic: string, bytes: number): Promise<void> {
  const publisher = await siege.join({ clientId: "publisher" })
  const message = publish(4, { topic, qos: 1, payload: Buffer.alloc(bytes) })
  for (let n = 1; (await publisher.write(message)) && (await publisher.got(PACKET.puback, n)); n++);
}

async function subscribeEveryWay(siege: Siege): Promise<void> {
  const session = await siege.join({ clientId: "session", clean: false })
  await subscribeAll(session, everyWay(13))
}

/** Small messages at QoS 0 to a new topic each, as fast as they are read. */
async function publishToTopics(siege: Siege, topic: (n: number) => string): Promise<void> {
  const publisher = await siege.join({ clientId: "publisher" })
  await publisher.flood((n) => Buffer.concat(Array.from({ length: 100 }, (_, k) => publish(4, { topic: topic(n * 100 + k) }))))
}

/** Persistent Sessions that subscribe to filters of their own, as many as are let. */
async function subscribeDeep(siege: Siege): Promise<void> {
  await siege.each(
    50,
    async (n) => {
      const session = await siege.join({ clientId: `deep-${n}`, clean: false })
      const filters = Array.from({ length: 10_000 }, (_, k) => deep(100, `${n}-${k}`))
      await subscribeAll(session, filters, 1000)
    },
    4,
  )
}

/** Topic Filters of 60 kB each, of Clean Sessions. */
async function subscribeLong(siege: Siege): Promise<void> {
  await siege.each(
    20,
    async (n) => {
      const session = await siege.join({ clientId: `long-${n}` })
      for (let k = 0, packets = 1; k < 10_000; k += 16, packets++) {
        const filters = Array.from({ length: 16 }, (_, i): [string, number] => [`${n}-${k + i}-`.padEnd(60_000, "f"), 0])
        if (!(await session.write(subscribe(4, 1, ...filters))) || !(await session.got(PACKET.suback, packets))) return
      }
    },
    4,
  )
}

/** SUBSCRIBE and UNSUBSCRIBE of new filters without end, in a persistent Session. */
async function churn(siege: Siege): Promise<void> {
  await siege.each(10, async (n) => {
    const session = await siege.join({ clientId: `churn-${n}`, clean: false })
    await session.flood((k) => {
      const filters = Array.from({ length: 100 }, (_, i) => `${n}-${k}-${i}-`.padEnd(5000, "f"))
      return Buffer.concat([subscribe(4, 1, ...filters.map((filter): [string, number] => [filter, 1])), packet(0xa2, word(2), ...filters)])
    })
  })
}

/** Sessions with as many filters as there may be, discarded by their next CONNECT. */
async function makeAndDiscard(siege: Siege): Promise<void> {
  const filters = Array.from({ length: 10_000 }, (_, n) => `many/${n}`)
  await siege.each(
    Infinity,
    async (n) => {
      const made = await siege.join({ clientId: `made-${n}`, clean: false })
      await subscribeAll(made, filters, 5000)
      made.leave()
      const next = await siege.join({ clientId: `made-${n}` })
      next.leave()
    },
    8,
  )
}

/** A Session's 8,192 filters match both topics, or one half of them only the first: neither goes on where the other ended. */
async function alternate(siege: Siege): Promise<void> {
  await siege.each(4, async (n) => {
    const publisher = await siege.join({ clientId: `publisher-${n}` })
    const pair = ["a", "b"].map((first, k) => publish(4, { topic: deep(13, first), qos: 1, packetId: k + 1, payload: "x" }))
    const block = Buffer.concat(Array.from({ length: 50 }, () => pair).flat())
    await publisher.flood(() => block)
  })
}

/** Topics that thousands of filters match: each is remembered with all of its logs. */
async function rememberMatches(siege: Siege): Promise<void> {
  await publishToTopics(siege, (n) => `${deep(12)}/${n}`)
}

/** What Topic Filters make grow. */
export const FILTERS: Record<string, Attack> = {
  "one PUBLISH of 1 MB that 8,192 filters of an absent session match": {
    grows: "a row of 1 MB for each of 8,192 logs when it is folded",
    prepare: subscribeEveryWay,
    run: (siege) => publishOneByOne(siege, deep(13), MB),
  },
  "PUBLISH of 1 MB that 8,192 filters of a connected session match": {
    grows: "the same, and a reader for each of the logs",
    prepare: subscribeEveryWay,
    run: async (siege) => {
      const session = await siege.join({ clientId: "session", clean: false })
      session.willing = true
      await publishOneByOne(siege, deep(13), MB)
    },
  },
  "filters of 100 levels of many persistent sessions": {
    grows: "a node and a Map for each level of each Topic Filter",
    run: subscribeDeep,
  },
  "filters of 60 kB": {
    grows: "the text of Topic Filters, in the Session and in the tree",
    run: subscribeLong,
  },
  "SUBSCRIBE and UNSUBSCRIBE of new filters on a slow disk": {
    grows: "rows of Subscriptions that gather while a commit is under way",
    run: churn,
  },
  "small messages to two topics in turn that 8,192 filters match, on a slow disk": {
    grows: "a part of each log for each message that gathers",
    prepare: subscribeEveryWay,
    run: alternate,
  },
  "sessions with 10,000 filters that are made and discarded": {
    grows: "the time that the end of a Session takes, in one turn",
    run: makeAndDiscard,
  },
  "topics that 4,096 filters match": {
    grows: "the matches that are remembered, each with 4,096 logs",
    prepare: async (siege) => {
      const session = await siege.join({ clientId: "session", clean: false })
      await subscribeAll(session, everyWay(12, "/+"))
    },
    run: rememberMatches,
  },
}
