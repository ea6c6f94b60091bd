import { execFileSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Duplex } from "node:stream"
import { connect as connectTls, type ConnectionOptions } from "node:tls"
import { makeCertificates, runCli, temporaryFolder } from "@mqtt-trio/testing"
import { expect, test } from "vitest"
import { createWebSocketStream, WebSocket } from "ws"
import { logged, startDoors } from "../support/doors.js"
import { Peer } from "../support/peer.js"

/** The authority of the clients, and what those show that have these subjects. */
const dir = temporaryFolder()
const { ca, clientCert, clientKey } = makeCertificates(dir)

function withSubject(subject: string): ConnectionOptions {
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-utf8", "-multivalue-rdn"]
  const openssl = (...args: string[]): void => void execFileSync("openssl", args, { cwd: dir, stdio: "pipe" })
  writeFileSync(join(dir, "c.ext"), "subjectAltName=DNS:c\n")
  openssl("req", ...key, "-subj", subject, "-keyout", "c.key", "-out", "c.csr")
  openssl(
    "x509",
    "-req",
    "-in",
    "c.csr",
    "-CA",
    "ca.crt",
    "-CAkey",
    "ca.key",
    "-CAcreateserial",
    "-days",
    "1",
    "-extfile",
    "c.ext",
    "-out",
    "c.crt",
  )
  return { cert: readFileSync(join(dir, "c.crt")), key: readFileSync(join(dir, "c.key")) }
}

const STRICT = ["--tls-require-cert", "--tls-ca", ca]

test.each(["/O=house", "/", "/CN=", "/CN=a/CN=b"])("a certificate with the subject %s is refused, over wss too", async (subject) => {
  const shown = withSubject(subject)
  const { broker, open, url, certificates } = await startDoors([...STRICT, "--tls-user"])
  const tls = new Peer(open("mqtts", shown), 4)
  expect(await tls.ended()).toEqual([])
  const socket = new WebSocket(url("wss"), "mqtt", { ca: readFileSync(certificates.ca), ...shown })
  expect(await new Peer(createWebSocketStream(socket), 4).ended()).toEqual([])
  const line = /127\.0\.0\.1:\d+ was closed: its certificate has not exactly one Common Name, and --tls-user makes that the user/g
  await logged(broker, new RegExp(`${line.source}[^]*${line.source}`))
  // it is in order where nobody asks for a user
  const { open: other } = await startDoors(STRICT)
  await (await Peer.connected(other("mqtts", shown), 4)).settled()
})

/** Whether a connection has the rights of its certificate's user, and not of the one that it names. */
async function isUser(stream: Duplex): Promise<void> {
  const peer = await Peer.connected(stream, 5, { userName: "other", password: "x" })
  expect(await peer.subscribe(["own", 0], ["other", 0], ["all", 0])).toEqual([0, 0x87, 0x87])
}

test.each(["client", "Zoë", "x".repeat(64)])("%s is the user, over wss too, and when the TLS session is resumed", async (name) => {
  const shown = withSubject(`/CN=${name}`)
  const rules = join(temporaryFolder(), "acl")
  writeFileSync(rules, `topic all\nuser ${name}\ntopic own\nuser other\ntopic other\n`)
  const { url, port, certificates } = await startDoors([...STRICT, "--tls-user", "--acl-file", rules])
  const authority = readFileSync(certificates.ca)
  const wss = new WebSocket(url("wss"), "mqtt", { ca: authority, ...shown })
  await isUser(createWebSocketStream(wss))
  for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
    const options = { port: port("mqtts"), host: "localhost", ca: authority, minVersion: version, maxVersion: version, ...shown }
    const first = connectTls(options)
    const session = new Promise<Buffer>((resolve) => first.on("session", resolve))
    await isUser(first)
    const again = connectTls({ ...options, session: await session })
    await isUser(again)
    expect(again.isSessionReused()).toBe(true)
  }
})

test("mqtt-pub with a certificate", async () => {
  const { url, certificates } = await startDoors([...STRICT, "--tls-user"])
  const shown = ["--cafile", certificates.ca, "--cert", clientCert, "--key", clientKey]
  expect(await runCli("mqtt-pub", ["--url", url("mqtts"), ...shown, "t", "x"])).toMatchObject({ code: 0, stderr: "" })
})

test("--tls-user without --tls-require-cert, or without TLS, is a usage error", async () => {
  const at = ["check", "--listen", "mqtts://127.0.0.1:0", "--tls-cert", "c", "--tls-key", "k", "--tls-user"]
  expect(await runCli("mqtt-broker", at)).toMatchObject({
    code: 2,
    stderr:
      "error: --tls-user takes the user from the client's certificate, and clients are asked for none\nhint: add --tls-require-cert\n",
  })
  expect(await runCli("mqtt-broker", ["check", "--tls-user"])).toMatchObject({
    code: 2,
    stderr: "error: options of TLS are given, and nothing listens with TLS\nhint: add --listen mqtts://127.0.0.1:8883\n",
  })
})
