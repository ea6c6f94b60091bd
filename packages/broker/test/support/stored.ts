import { copyFileSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { runCli, temporaryFolder } from "@mqtt-trio/testing"
import { checkFile } from "../../src/stores/check-file.js"
import { Peer } from "./peer.js"
import { readPublish } from "./read.js"
import { properties, publish, puback, sessionExpiry, subscribe } from "./wire.js"

export const DATABASE = "mqtt-broker.mdb"

/** the first byte of a SUBACK */
const SUBACK = 0x90

/** A copy of a store that no broker uses: its folder, and its file of tables. */
export function copyOfStore(folder: string): [folder: string, file: string] {
  const copy = temporaryFolder()
  for (const name of readdirSync(folder))
    if (name === DATABASE || name.startsWith("journal.")) copyFileSync(join(folder, name), join(copy, name))
  return [copy, join(copy, DATABASE)]
}

/** Changes the bytes of a file. */
export function changeFile(file: string, change: (bytes: Buffer) => void): void {
  const bytes = readFileSync(file)
  change(bytes)
  writeFileSync(file, bytes)
}

/** Starts a broker that must not start: its exit code and what it says. */
export async function failedStart(folder: string): Promise<{ code: number | null; signal: NodeJS.Signals | null; stderr: string }> {
  const { code, signal, stderr } = await runCli("mqtt-broker", ["start", "--port", "0", "--store", `file:${folder}`])
  return { code, signal, stderr }
}

/** Subscribes for a Session that goes away then. */
export async function absent(port: number, clientId: string, filter: string): Promise<void> {
  const peer = await Peer.connected(port, 5, { clientId, clean: false, properties: properties(sessionExpiry(100_000)) })
  await peer.subscribe([filter, 1])
  peer.cut()
}

/** Publishes at QoS 1; resolves when all is acknowledged. */
export async function publishAll(port: number, messages: readonly { topic: string; payload: Buffer; retain?: boolean }[]): Promise<void> {
  const peer = await Peer.connected(port, 5)
  for (const [n, { topic, payload, retain = false }] of messages.entries()) {
    const packetId = (n % 1000) + 1
    peer.send(publish(5, { topic, qos: 1, packetId, payload, retain }))
    const answer = await peer.next()
    if (answer[0] !== puback(packetId)[0]) throw new Error(`no PUBACK: ${answer.toString("hex")}`)
  }
  peer.cut()
}

/** Everything that waits for a Session, as payloads, up to a message that is published now; it is acknowledged. */
export async function drain(port: number, clientId: string): Promise<string[]> {
  const peer = await Peer.connected(port, 5, { clientId, clean: false, properties: properties(sessionExpiry(100_000)) })
  const end = `end/${clientId}`
  peer.send(subscribe(5, 1, [end, 1]))
  const payloads: string[] = []
  for (;;) {
    const packet = await peer.next()
    if (packet[0] === SUBACK) {
      await publishAll(port, [{ topic: end, payload: Buffer.alloc(0) }])
      continue
    }
    const { topic, packetId, payload } = readPublish(packet, 5)
    peer.send(puback(packetId))
    if (topic === end) break
    payloads.push(payload.toString())
  }
  await peer.settled()
  peer.cut()
  return payloads
}

const PAGE = 4096

/** How long a file of tables is without the free pages at its end. */
export function wholeSize(file: string): number {
  const copy = join(temporaryFolder(), "copy.mdb")
  copyFileSync(file, copy)
  for (let { size } = statSync(copy); ; size -= PAGE) {
    truncateSync(copy, size - PAGE)
    try {
      checkFile(copy)
    } catch {
      return size
    }
  }
}
