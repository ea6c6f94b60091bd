import type { Rate } from "./pace.js"

/** Bounds on what a client may do. */
export interface Limits {
  /** most bytes of a packet, fixed header included; MQTT 5.0 clients learn it as Maximum Packet Size */
  packetBytes: number
  /** the same before CONNECT is accepted */
  firstPacketBytes: number
  /** ms from the connection to its CONNECT */
  connectTimeoutMs: number
  /** most unacknowledged messages to a client of MQTT 3.1 or 3.1.1 */
  inflight: number
  /** most connections with a Session */
  connections: number
  /** most connections from one address, or one /64 of IPv6; Infinity: as many as there are */
  connectionsPerAddress: number
  /** most Sessions, connected or not */
  sessions: number
  /** most Subscriptions of one Session */
  subscriptions: number
  /** most levels of a Topic Name or Topic Filter */
  topicLevels: number
  /** what is taken from one client in a second; undefined: all that it sends */
  rate: Rate | undefined
}
