import { PACKET } from "@mqtt-trio/torture"
import type { Assailant } from "../support/assailant.js"
import type { Attack, Siege } from "../support/siege.js"
import { type ConnectFields, properties, publish, sessionExpiry, subscribe, word } from "../support/wire.js"

/** Clients that subscribed to a topic. */
async function subscribers(
  siege: Siege,
  options: { count: number; qos: 0 | 1 | 2; fields: (n: number) => ConnectFields; version?: 4 | 5 },
): Promise<Assailant[]> {
  const { count, qos, fields, version = 4 } = options
  const all = await siege.crowd(count, fields, version)
  await siege.each(all.length, async (n) => {
    const one = all[n]
    if (one && (await one.write(subscribe(version, 1, ["t", qos])))) await one.got(PACKET.suback, 1)
  })
  return all
}

/** Messages as fast as they are read. */
async function flood(siege: Siege, qos: 0 | 1 | 2, bytes: number): Promise<void> {
  const publisher = await siege.join({ clientId: "flood" })
  const some = Math.max(1, Math.floor(65_536 / (bytes + 7)))
  const payload = Buffer.alloc(bytes)
  const message = (n: number): Buffer => publish(4, { topic: "t", qos, packetId: (n % 65_535) + 1, payload })
  await publisher.flood((n) => Buffer.concat(Array.from({ length: some }, (_, k) => message(n * some + k))))
}

/** Subscribers that never read, and a flood of messages to them. */
function floodFrozen(options: { grows: string; qos: 0 | 1; bytes: number; clean: boolean; count?: number }): Attack {
  const { grows, qos, bytes, clean, count = 1000 } = options
  return {
    grows,
    gather: async (siege) => {
      const all = await subscribers(siege, { count, qos, fields: (n) => ({ clientId: `frozen-${n}`, clean }) })
      for (const one of all) one.freeze()
    },
    run: (siege) => flood(siege, qos, bytes),
  }
}

/** Persistent, with a Receive Maximum as large as it may be. */
function generous(n: number): ConnectFields {
  return { clientId: `generous-${n}`, clean: false, properties: properties(sessionExpiry(100_000), [0x21, ...word(65_535)]) }
}

/** Subscribers that read and never acknowledge. */
function withhold(grows: string, qos: 1 | 2): Attack {
  return {
    grows,
    gather: async (siege) => {
      await subscribers(siege, { count: 1000, qos, fields: generous, version: 5 })
    },
    run: (siege) => flood(siege, qos, 10),
  }
}

const QUEUED_TOPICS = 1000
const READING_SESSIONS = 20

/** Sessions that share many logs, and a large message in each. */
async function queueInManyLogs(siege: Siege): Promise<void> {
  const filters = Array.from({ length: QUEUED_TOPICS }, (_, k): [string, number] => [`logs/${k}`, 1])
  await siege.each(READING_SESSIONS, async (n) => {
    const session = await siege.join({ clientId: `reader-${n}`, clean: false })
    if (await session.write(subscribe(4, 1, ...filters))) await session.got(PACKET.suback, 1)
    session.leave()
  })
  const publisher = await siege.join({ clientId: "filler" })
  for (const [n, [topic]] of filters.entries())
    if (!(await publisher.write(publish(4, { topic, qos: 1, packetId: n + 1, payload: Buffer.alloc(60_000) })))) return
  await publisher.got(PACKET.puback, QUEUED_TOPICS)
}

async function readNothing(siege: Siege): Promise<void> {
  const all = await siege.crowd(READING_SESSIONS, (n) => ({ clientId: `reader-${n}`, clean: false }))
  for (const one of all) one.freeze()
}

const STORM_SESSIONS = 2000
const STORM_MESSAGES = 100

async function queueForMany(siege: Siege): Promise<void> {
  await siege.each(STORM_SESSIONS, async (n) => {
    const session = await siege.join({ clientId: `queued-${n}`, clean: false })
    if (await session.write(subscribe(4, 1, [`queued/${n}`, 1]))) await session.got(PACKET.suback, 1)
    session.leave()
  })
  const publisher = await siege.join({ clientId: "filler" })
  for (let k = 0; k < STORM_MESSAGES; k++) {
    const block = Array.from({ length: STORM_SESSIONS }, (_, n) =>
      publish(4, { topic: `queued/${n}`, qos: 1, packetId: ((k * STORM_SESSIONS + n) % 65_535) + 1, payload: "x".repeat(100) }),
    )
    if (!(await publisher.write(Buffer.concat(block)))) return
  }
  await publisher.got(PACKET.puback, STORM_MESSAGES * STORM_SESSIONS)
}

async function comeBack(siege: Siege): Promise<void> {
  await siege.each(
    STORM_SESSIONS,
    async (n) => {
      const session = await siege.join({ clientId: `queued-${n}`, clean: false })
      session.willing = true
      await session.got(PACKET.publish | 2, STORM_MESSAGES)
    },
    STORM_SESSIONS,
  )
}

/** PINGREQ, and nobody who reads the answers. */
async function pingWithoutReading(siege: Siege): Promise<void> {
  const many = Buffer.alloc(65_536)
  for (let at = 0; at < many.length; at += 2) many[at] = 0xc0
  const all = siege.assailants
  await siege.each(all.length, async (n) => {
    all[n]?.freeze()
    await all[n]?.flood(() => many)
  })
}

/** What receivers make grow that do not read, do not acknowledge, or come all at once. */
export const RECEIVERS: Record<string, Attack> = {
  "1,000 frozen subscribers and messages of 8 kB at QoS 0": floodFrozen({
    grows: "8 MB that wait for each socket, copied for each",
    qos: 0,
    bytes: 8000,
    clean: true,
  }),
  "1,000 frozen subscribers and messages of 100 kB at QoS 0": floodFrozen({
    grows: "8 MB that wait for each socket, where they lie",
    qos: 0,
    bytes: 100_000,
    clean: true,
  }),
  "1,000 frozen clean sessions and messages of 100 kB at QoS 1": floodFrozen({
    grows: "64 MB of queue for each, copied for each",
    qos: 1,
    bytes: 100_000,
    clean: true,
  }),
  "50 frozen clean sessions and messages of 7 bytes at QoS 1": floodFrozen({
    grows: "64 MB of queue for each, and 12 bytes of index beside every 7",
    qos: 1,
    bytes: 0,
    clean: true,
    count: 50,
  }),
  "1,000 frozen persistent sessions and messages of 1 MB at QoS 1": floodFrozen({
    grows: "1 MB and a message that wait for each socket, copied for each",
    qos: 1,
    bytes: 1_000_000,
    clean: false,
  }),
  "messages of 1 MB at QoS 1 to 1,000 clean sessions that read": {
    grows: "a copy for each receiver, all in one turn",
    gather: async (siege) => {
      const all = await subscribers(siege, { count: 1000, qos: 1, fields: (n) => ({ clientId: `reading-${n}` }) })
      for (const one of all) one.willing = true
    },
    run: (siege) => flood(siege, 1, 1_000_000),
  },
  "1,000 sessions that acknowledge nothing at QoS 1": withhold("a window of 4,096 messages for each", 1),
  "1,000 sessions that acknowledge nothing at QoS 2": withhold(
    "a window of 4,096 messages for each, stored with its cursor at each commit",
    2,
  ),
  "20 sessions with a queue in 1,000 logs that do not read": {
    grows: "a chunk that was read ahead for each log of each session",
    prepare: queueInManyLogs,
    run: readNothing,
  },
  "2,000 persistent sessions with 100 queued messages each that come back at once": {
    grows: "the time that others wait",
    prepare: queueForMany,
    run: comeBack,
  },
  "PINGREQ without end of 100 clients that do not read": {
    grows: "the answers that wait, and the time that they take",
    gather: async (siege) => {
      await siege.crowd(100, (n) => ({ clientId: `ping-${n}` }))
    },
    run: pingWithoutReading,
  },
}
