import type { Target } from "@mqtt-trio/common"
import type { AclRule } from "../access/rights/rule-tree.js"
import { timeProblems } from "../server/listeners/tls-files.js"
import { isLocal, isLoopback } from "../server/loopback.js"
import { rateOddities } from "./rate-options.js"
import { unusedMemory } from "./size-options.js"
import { isOpen, type StartOptions } from "./start.js"

/** Until when a certificate should have been renewed: this long before its end. */
const SOON_MS = 14 * 86_400_000

/** What lines of an ACL file allow or refuse and is seldom meant, in words. */
export function ruleOddities(file: string | undefined, rules: readonly AclRule[]): string[] {
  const literal = rules.filter(({ scope, levels }) => scope !== "pattern" && levels.some((level) => /%[uc]/.test(level)))
  return literal.map(
    ({ line, text }) => `${file}:${line}: %u and %c name the client only in lines that begin with pattern, here they are text: ${text}`,
  )
}

type Oddity = [found: boolean, text: string]

/** What the options allow and is seldom meant, in words. */
export function oddities(options: StartOptions, targets: readonly Target[]): string[] {
  const found = [
    ...ofDoors(options, targets),
    ...ofCertificates(options),
    ...ofProxies(options, targets),
    ...ofLimits(options),
    ...rateOddities(options),
  ]
  return found.filter(([odd]) => odd).map(([, text]) => text)
}

function ofDoors(options: StartOptions, targets: readonly Target[]): Oddity[] {
  const { anonymous, passwordFile, aclFile, tlsUser } = options
  const foreign = targets.filter((target) => !isLocal(target))
  return [
    ...foreign.map((target): Oddity => [
      isOpen(target, options),
      `everybody who reaches ${placeOf(target)} may connect, read and publish, without a password`,
    ]),
    ...foreign.map((target): Oddity => [
      !isOpen(target, options) && target.kind === "tcp" && !target.tls,
      `passwords travel to ${placeOf(target)} as they are, for everybody on the way to read: mqtts: and wss: hide them`,
    ]),
    [
      aclFile !== undefined && passwordFile === undefined && !tlsUser,
      "acl-file without password-file: everybody is anonymous, so only the rules before its first user line count",
    ],
    [
      anonymous && passwordFile === undefined && foreign.length === 0,
      `anonymous changes nothing: only this machine reaches ${targets.map(placeOf).join(", ")}`,
    ],
    [
      targets.some((target) => target.kind === "tcp" && target.port === 0),
      "port 0: at each start another one, that clients have to be told",
    ],
  ]
}

function ofCertificates({ tlsCert: cert, tlsCa: clientCa }: StartOptions): Oddity[] {
  return cert === undefined ? [] : timeProblems({ cert, clientCa }, SOON_MS).map((problem): Oddity => [true, problem])
}

function ofProxies({ proxyProtocol }: StartOptions, targets: readonly Target[]): Oddity[] {
  return [
    [proxyProtocol.some(({ bits }) => bits === 0), "proxy-protocol of 0 bits: whoever connects may say that it comes from anywhere"],
    [
      proxyProtocol.length > 0 && targets.every(isLocal) && !proxyProtocol.some(({ address, bits }) => bits === 0 || isLoopback(address)),
      "proxy-protocol changes nothing: none of its addresses is this machine's, which alone reaches the broker",
    ],
  ]
}

function ofLimits(options: StartOptions): Oddity[] {
  const { store, maxPacket, maxQueue, maxRetained, maxRetainedSize, maxSessions, maxConnections, logLevel } = options
  return [
    [store.kind === "memory", "store memory: nothing survives the broker"],
    [maxQueue < maxPacket, "max-queue is less than max-packet: a message that is accepted may find no room in any queue"],
    [
      maxRetained > 0 && maxRetainedSize < maxPacket,
      "max-retained-size is less than max-packet: a message that is accepted may never be retained",
    ],
    [maxSessions < maxConnections, "max-sessions is less than max-connections: each connection needs a session, so fewer can connect"],
    [
      (options.maxConnectionsPerAddress ?? 0) >= maxConnections,
      "max-connections-per-address is not less than max-connections: one address may take them all",
    ],
    [unusedMemory(options.maxMemory) !== undefined, unusedMemory(options.maxMemory) ?? ""],
    [logLevel === "silent", "log-level silent: nobody learns what was dropped"],
  ]
}

function placeOf(target: Target): string {
  return JSON.stringify(target.kind === "tcp" ? target.host : target.path)
}
