import { bears } from "./bounds.js"

bears("100,000 persistent sessions with client identifiers of 60 kB", { leaves: true, stopped: true })
bears("10,000 connections with a Will of 60 kB each", { stopped: true })
bears("delayed Wills of 60 kB of sessions that are away", { leaves: true, stopped: true })
bears("Packet Identifiers of QoS 2 of 200 clients that never send PUBREL", { leaves: true })
bears("10,000 clients that stay")
bears("clients that come and go without end")
bears("CONNECT with 12,000 User Properties without end")
bears("PUBLISH with 200,000 User Properties without end")
