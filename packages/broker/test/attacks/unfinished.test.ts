import { bears } from "./bounds.js"

bears("1,500 connections with all but the last byte of a packet of 1 MB", { stopped: true })
bears("1,500 connections with all but the last byte of a packet of 1 MB", { stopped: true, sameAddress: true })
bears("packets of 1 MB that come byte by byte on 500 connections")
bears("10,900 connections with all but the last byte of a CONNECT of 64 kB", { stopped: true })
bears("40 WebSockets with all but the last byte of a message of 65 MB", { stopped: true })
bears("20 WebSockets with messages of fragments of one byte")
bears("8,000 HTTP requests whose headers do not end")
bears("10,000 TLS handshakes that do not end")
bears("10,500 connections that fight for one client identifier")
