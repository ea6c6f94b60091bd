import { isIPv4 } from "node:net"
import type { Target } from "@mqtt-trio/common"

/** Whether only this machine reaches what listens there. */
export function isLocal(target: Target): boolean {
  return target.kind === "unix" || isLoopback(target.host)
}

export function isLoopback(host: string): boolean {
  return host.toLowerCase() === "localhost" || host === "::1" || (isIPv4(host) && host.startsWith("127."))
}
