import { bears } from "./bounds.js"

const STORM_MS = 250

bears("1,000 frozen subscribers and messages of 8 kB at QoS 0")
bears("1,000 frozen subscribers and messages of 100 kB at QoS 0")
bears("1,000 frozen clean sessions and messages of 100 kB at QoS 1", { stopped: true })
bears("50 frozen clean sessions and messages of 7 bytes at QoS 1")
bears("1,000 frozen persistent sessions and messages of 1 MB at QoS 1")
bears("1,000 frozen persistent sessions and messages of 1 MB at QoS 1", { sameAddress: true })
bears("messages of 1 MB at QoS 1 to 1,000 clean sessions that read")
bears("1,000 sessions that acknowledge nothing at QoS 1")
bears("1,000 sessions that acknowledge nothing at QoS 2")
bears("20 sessions with a queue in 1,000 logs that do not read")
bears("2,000 persistent sessions with 100 queued messages each that come back at once", { longestMs: STORM_MS })
bears("PINGREQ without end of 100 clients that do not read")
