import type { Attack, Siege } from "../support/siege.js"
import { type ConnectFields, long, properties, publish, sessionExpiry, subscribe } from "../support/wire.js"

/** One client after the other, each under a new name, that leaves without DISCONNECT when it was let in. */
async function comeAndGo(siege: Siege, count: number, fields: (n: number) => ConnectFields, version: 4 | 5 = 4): Promise<void> {
  await siege.each(
    count,
    async (n) => {
      const one = await siege.join(fields(n), version)
      one.leave()
    },
    64,
  )
}

function longName(n: number): string {
  return `${n}-`.padEnd(60_000, "c")
}

/** Packet Identifiers at QoS 2 whose PUBREL never comes. */
async function neverRelease(siege: Siege): Promise<void> {
  const all = Buffer.concat(Array.from({ length: 65_535 }, (_, n) => publish(4, { topic: "t", qos: 2, packetId: n + 1 })))
  await siege.each(200, async (n) => {
    const client = await siege.join({ clientId: `never-${n}`, clean: false })
    await client.write(all)
  })
}

/** Thousands of User Properties in each PUBLISH. */
async function userProperties(siege: Siege): Promise<void> {
  const pairs = Buffer.alloc(1_000_000)
  for (let at = 0; at < pairs.length; at += 5) pairs[at] = 0x26
  const message = publish(5, { topic: "t", properties: properties(pairs) })
  await siege.each(4, async (n) => {
    const client = await siege.join({ clientId: `properties-${n}` }, 5)
    await client.flood(() => message)
  })
}

function manyProperties(n: number): ConnectFields {
  const pairs = Buffer.alloc(60_000)
  for (let at = 0; at < pairs.length; at += 5) pairs[at] = 0x26
  return { clientId: `pairs-${n}`, properties: properties(pairs) }
}

/** What connects, and what is remembered of it. */
export const NAMES: Record<string, Attack> = {
  "100,000 persistent sessions with client identifiers of 60 kB": {
    grows: "Client Identifiers, in the Session, its row, and what is not folded",
    run: (siege) => comeAndGo(siege, 100_000, (n) => ({ clientId: longName(n), clean: false })),
  },
  "10,000 connections with a Will of 60 kB each": {
    grows: "Wills, in the connection and in rows that gather and are not folded",
    run: async (siege) => {
      await siege.crowd(10_000, (n) => ({ clientId: `will-${n}`, will: { topic: "wills", payload: "w".repeat(60_000) } }))
    },
  },
  "delayed Wills of 60 kB of sessions that are away": {
    grows: "Wills that wait for their Will Delay Interval",
    run: (siege) =>
      comeAndGo(
        siege,
        100_000,
        (n) => ({
          clientId: `late-${n}`,
          properties: properties(sessionExpiry(100_000)),
          will: { topic: "wills", payload: "w".repeat(60_000), properties: properties([0x18, ...long(100_000)]) },
        }),
        5,
      ),
  },
  "Packet Identifiers of QoS 2 of 200 clients that never send PUBREL": {
    grows: "65,535 identifiers for each Session, in memory, in what gathers and in what is not folded",
    run: neverRelease,
  },
  "10,000 clients that stay": {
    grows: "what a connection, its Session and its Subscription cost",
    run: async (siege) => {
      await siege.each(10_000, async (n) => {
        await (await siege.join({ clientId: `stay-${n}` })).write(subscribe(4, 1, [`stay/${n}`, 1]))
      })
    },
  },
  "clients that come and go without end": {
    grows: "what one CONNECT costs, many times a second",
    run: (siege) => comeAndGo(siege, Infinity, (n) => ({ clientId: `storm-${n}` })),
  },
  "CONNECT with 12,000 User Properties without end": {
    grows: "the time that a CONNECT takes, and an object for each property",
    run: (siege) => comeAndGo(siege, Infinity, manyProperties, 5),
  },
  "PUBLISH with 200,000 User Properties without end": {
    grows: "the time that the properties of a PUBLISH take",
    run: userProperties,
  },
}
