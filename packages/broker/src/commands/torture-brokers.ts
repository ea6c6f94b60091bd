import { randomInt } from "node:crypto"
import { once } from "node:events"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Address, TorturedBroker, TortureOptions, TortureReport } from "@mqtt-trio/torture"
import { BROKER_ERRORS } from "../errors.js"
import { storeUrl, type DatabasePlace, type StoreLocation } from "../stores/store-url.js"

const DAY_MS = 86_400_000
const LEASE_MS = 2000
const HOST = "127.0.0.1"
const MONGODB_PORT = 27_017

/** Which brokers are tortured. */
export interface BrokersToTorture {
  /** Absent: brokers of our own. */
  target: Address | undefined
  start: string | undefined
  tls: boolean
  store: StoreLocation | undefined
  brokers: number
  lease: number | undefined
  storeServer: string | undefined
}

type Targets = readonly [TorturedBroker, ...TorturedBroker[]]
/** What follows for the torture from where the brokers are. */
type Settings = Pick<TortureOptions, "storeServer" | "lastingStore" | "replacedExitCode">
type Run = (targets: Targets, settings: Settings) => Promise<TortureReport>

/** Runs a torture on the brokers, which are not started yet. What was made for it is removed afterwards. */
export async function withBrokers(options: BrokersToTorture, run: Run): Promise<TortureReport> {
  const { TorturedBroker } = await import("@mqtt-trio/torture")
  const { target, start } = options
  if (target) return run([new TorturedBroker(target, start === undefined ? undefined : ["/bin/sh", "-c", `exec ${start}`])], {})
  const folder = mkdtempSync(join(tmpdir(), "mqtt-torture-"))
  try {
    return await run(await ownBrokers(options, folder), await settingsOf(options))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** The server of a database; `undefined` when there may be several. */
export function serverOf({ shown }: DatabasePlace): Address | undefined {
  if (!URL.canParse(shown)) return undefined
  const { protocol, host, hostname, port } = new URL(shown)
  if (protocol !== "mongodb:" || host.includes(",")) return undefined
  return { host: hostname.replace(/^\[(.*)\]$/, "$1"), port: port === "" ? MONGODB_PORT : Number(port) }
}

async function settingsOf({ store, storeServer }: BrokersToTorture): Promise<Settings> {
  const { StoreServer } = await import("@mqtt-trio/torture")
  const address = store?.kind === "mongodb" ? serverOf(store) : undefined
  return {
    replacedExitCode: BROKER_ERRORS["store-in-use"].exitCode,
    lastingStore: store !== undefined,
    ...(storeServer !== undefined && address && { storeServer: new StoreServer(address, storeServer) }),
  }
}

/** This command itself, so many times, each with a port of its own. The store's URL is in the environment: it may have a password. */
async function ownBrokers({ tls, store, brokers, lease = LEASE_MS }: BrokersToTorture, folder: string): Promise<Targets> {
  const { TorturedBroker } = await import("@mqtt-trio/torture")
  const env = { MQTT_BROKER_STORE: store ? givenUrl(store) : `file:${join(folder, "store")}`, MQTT_BROKER_LEASE: `${lease}ms` }
  const listeners = tls ? await secureListeners(join(folder, "tls"), brokers) : await plainListeners(brokers)
  const [first, ...others] = listeners.map(
    ({ address, args }) => new TorturedBroker(address, [process.execPath, process.argv[1] ?? "", "start", ...args], env),
  )
  if (!first) throw new RangeError("no broker to torture")
  return [first, ...others]
}

function givenUrl(store: StoreLocation): string {
  return store.kind === "mongodb" ? store.connection : storeUrl(store)
}

/** Where a broker of our own listens, and what tells it. */
interface OwnListener {
  address: Address
  args: string[]
}

async function plainListeners(count: number): Promise<OwnListener[]> {
  const ports = await freePorts(count)
  return ports.map((port) => ({ address: { host: HOST, port }, args: ["--port", String(port)] }))
}

async function secureListeners(folder: string, count: number): Promise<OwnListener[]> {
  const { changeFolder } = await import("./cert-files.js")
  const { CertFolder } = await import("./cert-folder.js")
  const until = new Date(Date.now() + DAY_MS)
  const purpose = { kind: "server", names: [HOST] } as const
  const { ca, cert, key } = await changeFolder(folder, async () => {
    const made = await CertFolder.open(folder, "mqtt-broker torture", until)
    const server = await made.make({ file: "server", name: HOST, purpose, until })
    return { files: made.files, result: { ...server, ca: made.authority.cert } }
  })
  const ports = await freePorts(count)
  return ports.map((port) => ({
    address: { host: HOST, port, tls: { ca: readFileSync(ca) } },
    args: ["--listen", `mqtts://${HOST}:${port}`, "--tls-cert", cert, "--tls-key", key],
  }))
}

/** Ports that the system gives to nobody by chance while the broker is away: below those of outgoing connections and of port 0. */
async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>()
  while (ports.size < count) {
    const port = randomInt(16_384, 32_768)
    const server = createServer().listen(port, HOST)
    try {
      await once(server, "listening")
    } catch {
      continue
    }
    server.close()
    await once(server, "close")
    ports.add(port)
  }
  return [...ports]
}
