import { writeFileSync } from "node:fs"
import { basename, join } from "node:path"
import { fileURLToPath } from "node:url"
import type { Certificates } from "@mqtt-trio/testing"

/** What a broker under test is to be. */
export interface Wanted {
  /** Where its data goes. */
  folder: string
  /** A free port. */
  port: number
  /** Certificate and free port for TLS, and WebSocket where the broker has it; absent: plain TCP alone. */
  tls: { certificates: Certificates; port: number } | undefined
}

/** A broker that can be benched. */
export interface Contender {
  name: string
  /** Program and arguments. */
  command(wanted: Wanted): { program: string; args: string[] }
  /** True when the broker prints `{"event":"ready","port":N}`; otherwise it is ready when a connection on `port` is accepted. */
  announces: boolean
  /** True when acknowledged messages survive a restart. */
  durable: boolean
}

/** Settings of mosquitto in every measurement: no persistence, no queue limit, the in-flight window of this broker. */
export const MOSQUITTO_SETTINGS = [
  "allow_anonymous true",
  "persistence false",
  "max_queued_messages 0",
  "max_queued_bytes 0",
  "max_inflight_messages 100",
  "set_tcp_nodelay true",
  "log_type error",
]

const LAUNCHER = fileURLToPath(new URL("../bin/mqtt-broker.js", import.meta.url))

/** The broker of this package, its data in files, every other option at its default. */
export const own: Contender = {
  name: "mqtt-broker",
  command: ({ folder, tls }) => {
    const args = [LAUNCHER, "start", "--port", "0", "--store", `file:${folder}`, "--json"]
    return { program: process.execPath, args: tls ? [...args, ...doors(tls.certificates)] : args }
  },
  announces: true,
  durable: true,
}

/** The same on a database of its own in this server; the URL has no path. */
export function onMongodb(url: string): Contender {
  return {
    ...own,
    name: "mqtt-broker on mongodb:",
    command: ({ folder }) => ({
      program: process.execPath,
      args: [LAUNCHER, "start", "--port", "0", "--store", `${url}/${basename(folder)}`, "--lease", "1s", "--json"],
    }),
  }
}

function doors({ serverCert, serverKey }: Certificates): string[] {
  const listen = ["--listen", "mqtts://127.0.0.1:0", "--listen", "ws://127.0.0.1:0"]
  return [...listen, "--tls-cert", serverCert, "--tls-key", serverKey]
}

/** mosquitto as it stands in PATH. */
export const mosquitto: Contender = {
  name: "mosquitto",
  command: ({ folder, port, tls }) => {
    const file = join(folder, "mosquitto.conf")
    const { serverCert = "", serverKey = "" } = tls?.certificates ?? {}
    // started by root it would become another user, who cannot read the key
    const secure = tls ? ["user root", `listener ${tls.port} 127.0.0.1`, `certfile ${serverCert}`, `keyfile ${serverKey}`] : []
    writeFileSync(file, [`listener ${port} 127.0.0.1`, ...MOSQUITTO_SETTINGS, ...secure, ""].join("\n"))
    return { program: "mosquitto", args: ["-c", file] }
  },
  announces: false,
  durable: false,
}

/** Any command; `{port}` and `{dir}` in it are replaced. Without `{port}` it must announce its port as ours does. */
export function custom(command: string): Contender {
  return {
    name: "custom",
    command: ({ folder, port }) => ({
      program: "/bin/sh",
      args: ["-c", `exec ${command.replaceAll("{port}", String(port)).replaceAll("{dir}", folder)}`],
    }),
    announces: !command.includes("{port}"),
    durable: true,
  }
}
