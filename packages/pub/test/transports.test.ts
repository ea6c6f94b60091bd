import { writeFileSync } from "node:fs"
import { createServer, type Server, type Socket } from "node:net"
import { join } from "node:path"
import { beforeAll, describe, expect, it } from "vitest"
import {
  freePort,
  hasMosquitto,
  makeCertificates,
  onCleanUp,
  randomId,
  runCli,
  runProcess,
  startBroker,
  startMosquitto,
  temporaryFolder,
  type Certificates,
  type Mosquitto,
} from "@mqtt-trio/testing"

/** Publishes and receives one message over a session, both with these arguments. */
async function roundTrip(args: readonly string[], env: Record<string, string> = {}): Promise<{ stderr: string; received: string }> {
  const session = ["way", ...args, "--client", randomId(), "--persistent", "--quiet"]
  const subscribed = await runCli("mqtt-sub", [...session, "-E"], { env })
  const published = await runCli("mqtt-pub", ["way", "there", ...args], { env })
  const received = await runCli("mqtt-sub", [...session, "-C", "1", "-W", "5"], { env })
  return { stderr: subscribed.stderr + published.stderr, received: received.stdout }
}

describe.skipIf(!hasMosquitto())("ways to a broker (mosquitto)", () => {
  let broker: Mosquitto
  let certs: Certificates
  let folder: string
  const ports = { tls: 0, mutual: 0, psk: 0, ws: 0, password: 0, wss: 0 }

  beforeAll(async () => {
    folder = temporaryFolder()
    certs = makeCertificates(folder)
    for (const key of ["tls", "mutual", "psk", "ws", "password", "wss"] as const) ports[key] = await freePort()
    writeFileSync(join(folder, "psk"), "device:00112233\n")
    await runProcess("mosquitto_passwd", ["-b", "-c", join(folder, "passwords"), "ann", "p:w@ %"])
    const server = [`cafile ${certs.ca}`, `certfile ${certs.serverCert}`, `keyfile ${certs.serverKey}`]
    const open = "allow_anonymous true"
    const listeners = [
      [`listener ${ports.tls} 127.0.0.1`, open, ...server],
      [`listener ${ports.mutual} 127.0.0.1`, open, "require_certificate true", ...server],
      [`listener ${ports.psk} 127.0.0.1`, open, `psk_file ${join(folder, "psk")}`, "psk_hint x", "use_identity_as_username true"],
      [`listener ${ports.ws} 127.0.0.1`, open, "protocol websockets"],
      [`listener ${ports.wss} 127.0.0.1`, open, "protocol websockets", ...server],
      [`listener ${ports.password} 127.0.0.1`, `password_file ${join(folder, "passwords")}`],
      ["listener 0 {dir}/socket", open],
    ]
    broker = await startMosquitto([open, "per_listener_settings true", ...listeners.flat()])
    writeFileSync(join(folder, "password"), "p:w@ %\n")
  })

  const ok = { stderr: "", received: "there\n" }

  it("TCP: host and port, URL, environment", async () => {
    expect(await roundTrip(["-h", "localhost", "-p", String(broker.port)])).toEqual(ok)
    expect(await roundTrip(["-L", broker.url])).toEqual(ok)
    expect(await roundTrip([], { MQTT_URL: broker.url })).toEqual(ok)
    expect(await roundTrip([], { MQTT_HOST: "localhost", MQTT_PORT: String(broker.port) })).toEqual(ok)
    expect(await roundTrip(["-p", String(broker.port)], { MQTT_URL: "mqtt://127.0.0.1:1" })).toEqual(ok)
    expect(await roundTrip(["-A", "127.0.0.1", "--nodelay", "-p", String(broker.port)])).toEqual(ok)
  })

  it("a Unix domain socket", async () => {
    expect(await roundTrip(["--unix", join(broker.dir, "socket")])).toEqual(ok)
    expect(await roundTrip(["-L", `mqtt+unix://${join(broker.dir, "socket")}`])).toEqual(ok)
  })

  it("TLS with a private authority: --cafile, --capath, mqtts://, and the server's name is checked", async () => {
    const port = ["-p", String(ports.tls)]
    expect(await roundTrip(["-h", "localhost", ...port, "--cafile", certs.ca])).toEqual(ok)
    expect(await roundTrip(["-L", `mqtts://127.0.0.1:${ports.tls}`, "--cafile", certs.ca, "--tls-version", "tlsv1.3"])).toEqual(ok)
    const folderOfCa = temporaryFolder()
    await runProcess("cp", [certs.ca, join(folderOfCa, "ca.pem")])
    expect(await roundTrip([...port, "--capath", folderOfCa, "--tls-alpn", "mqtt"])).toEqual(ok)
    const wrongName = await runCli("mqtt-pub", ["t", "x", ...port, "--cafile", certs.ca, "--servername", "other.example"])
    expect(wrongName).toMatchObject({ code: 3, stderr: expect.stringContaining("--servername NAME") })
  })

  it("TLS without trust is refused with a hint; --insecure connects and warns", async () => {
    const url = ["-L", `mqtts://127.0.0.1:${ports.tls}`]
    const refused = await runCli("mqtt-pub", ["t", "x", ...url])
    expect(refused).toMatchObject({ code: 3, stderr: expect.stringMatching(/certificate is not trusted[^]*--cafile FILE/) })
    const accepted = await runCli("mqtt-pub", ["t", "x", ...url, "--insecure"])
    expect(accepted).toMatchObject({ code: 0, stderr: expect.stringContaining("warning: --insecure") })
  })

  it("the trust store of the system: SSL_CERT_FILE names it", async () => {
    expect(await roundTrip(["-h", "localhost", "-p", String(ports.tls), "--tls"], { SSL_CERT_FILE: certs.ca })).toEqual(ok)
  })

  it("TLS with a client certificate", async () => {
    const args = ["-p", String(ports.mutual), "--cafile", certs.ca]
    expect(await roundTrip([...args, "--cert", certs.clientCert, "--key", certs.clientKey])).toEqual(ok)
  })

  it.each([
    ["tlsv1.3", "the broker asks for a certificate\nhint: show one with --cert FILE and --key FILE\n"],
    [
      "tlsv1.2",
      "the broker gave up the TLS handshake (handshake failure)\nhint: does it want a client certificate (--cert, --key), or another --tls-version or --ciphers?\n",
    ],
  ])("%s without a client certificate, from mosquitto and from mqtt-broker: words, and what to do", async (version, words) => {
    const tls = ["--tls-cert", certs.serverCert, "--tls-key", certs.serverKey, "--tls-require-cert", "--tls-ca", certs.ca]
    const doors = ["--listen", "mqtts://127.0.0.1:0", "--listen", "wss://127.0.0.1:0"]
    const strict = await startBroker({ store: "memory:", args: [...doors, ...tls] })
    for (const url of [`mqtts://127.0.0.1:${ports.mutual}`, ...strict.urls.slice(1)])
      for (const [command, ...args] of [
        ["mqtt-pub", "t", "x"],
        ["mqtt-sub", "t"],
      ] as const)
        expect(await runCli(command, [...args, "-L", url, "--cafile", certs.ca, "--tls-version", version])).toMatchObject({
          code: 3,
          stderr: `error: cannot connect to ${url}: ${words}`,
        })
  })

  it("a client certificate of an authority that the broker does not know", async () => {
    const other = makeCertificates(temporaryFolder())
    const args = ["-p", String(ports.mutual), "--cafile", certs.ca, "--cert", other.clientCert, "--key", other.clientKey]
    const { code, stderr } = await runCli("mqtt-pub", ["t", "x", ...args])
    expect([code, stderr]).toEqual([3, expect.stringContaining("the broker does not accept the certificate of this client (unknown ca)")])
  })

  it("TLS with a pre-shared key", async () => {
    expect(await roundTrip(["-p", String(ports.psk), "--psk", "00112233", "--psk-identity", "device"])).toEqual(ok)
    expect((await runCli("mqtt-pub", ["t", "x", "-p", String(ports.psk), "--psk", "99", "--psk-identity", "device"])).code).toBe(3)
  })

  it("WebSocket, plain and over TLS, with headers and a path", async () => {
    expect(await roundTrip(["-L", `ws://127.0.0.1:${ports.ws}/mqtt`])).toEqual(ok)
    expect(await roundTrip(["-p", String(ports.ws), "--ws", "--path", "/x", "--ws-header", "X-A: b"])).toEqual(ok)
    expect(await roundTrip(["-L", `wss://127.0.0.1:${ports.wss}`, "--cafile", certs.ca])).toEqual(ok)
  })

  it("user and password: flags, URL, file, environment; a password on the command line is warned of", async () => {
    const port = ["-p", String(ports.password)]
    expect(await roundTrip([...port, "-u", "ann", "-P", "p:w@ %"])).toMatchObject({ received: "there\n" })
    expect(await roundTrip([...port, "-u", "ann", "--password-file", join(folder, "password")])).toEqual(ok)
    expect(await roundTrip(["-L", `mqtt://ann:p%3Aw%40%20%25@127.0.0.1:${ports.password}`])).toMatchObject({ received: "there\n" })
    expect(await roundTrip(port, { MQTT_USERNAME: "ann", MQTT_PASSWORD: "p:w@ %" })).toEqual(ok)
    const warned = await runCli("mqtt-pub", ["t", "x", ...port, "-u", "ann", "-P", "p:w@ %"])
    expect(warned).toMatchObject({
      code: 0,
      stderr: expect.stringContaining("anybody on this machine can read a password on the command line"),
    })
  })

  it("asks for the password without showing it", async () => {
    const command = `${process.execPath} ${new URL("../bin/mqtt-pub.cjs", import.meta.url).pathname} t x -p ${ports.password} -u ann -P`
    const { stdout, code } = await runProcess("script", ["-qec", command, "/dev/null"], { stdin: "p:w@ %\r" })
    expect(stdout).toContain("password:")
    expect(stdout.replaceAll("p:w@ %\r\n", "")).not.toContain("p:w@")
    expect(code).toBe(0)
  })

  it("wrong or missing credentials are exit 4, once, with a hint", async () => {
    const port = ["-p", String(ports.password)]
    const wrong = await runCli("mqtt-pub", ["t", "x", ...port, "-u", "ann", "--password-file", "/dev/null"])
    expect(wrong).toMatchObject({
      code: 4,
      stderr: expect.stringMatching(/refused the connection: (not authorized|bad user name or password)\nhint: check the user name "ann"/),
    })
    const missing = await runCli("mqtt-sub", ["t", ...port, "-V", "3.1.1"])
    expect(missing).toMatchObject({ code: 4, stderr: expect.stringContaining("add --username NAME --password") })
  })

  it("through a SOCKS 5 proxy", async () => {
    const proxy = await startSocksProxy()
    expect(await roundTrip(["-p", String(broker.port), "--proxy", `socks5h://127.0.0.1:${proxy.port}`])).toEqual(ok)
    expect(proxy.served()).toBe(3)
  })

  it("TLS options against a plain port, and plain against a TLS port, say what is wrong", async () => {
    const plain = await runCli("mqtt-pub", ["t", "x", "-p", String(broker.port), "--tls"])
    expect(plain).toMatchObject({ code: 3, stderr: expect.stringContaining("leave out the TLS options") })
    const secure = await runCli("mqtt-pub", ["t", "x", "-p", String(ports.tls)])
    expect(secure).toMatchObject({ code: 3, stderr: expect.stringMatching(/the other side speaks TLS on this port\nhint: add --tls/) })
  })
})

/** The smallest SOCKS 5 proxy: no authentication, CONNECT to names and IPv4 addresses. */
async function startSocksProxy(): Promise<{ port: number; served: () => number }> {
  const { connect } = await import("node:net")
  let served = 0
  const serve = (client: Socket): void => {
    client.on("error", () => undefined)
    client.once("data", () => {
      client.write(Buffer.from([5, 0]))
      client.once("data", (request) => {
        served += 1
        const name = request[3] === 3
        const end = name ? 5 + (request[4] ?? 0) : 8
        const host = name ? request.toString("latin1", 5, end) : [...request.subarray(4, 8)].join(".")
        const server = connect(request.readUInt16BE(end), host, () => {
          client.write(Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]))
          client.pipe(server).pipe(client)
        })
        server.on("error", () => client.destroy())
      })
    })
  }
  const proxy: Server = createServer(serve)
  onCleanUp(() => void proxy.close())
  await new Promise<void>((resolve) => {
    proxy.listen(0, "127.0.0.1", resolve)
  })
  const address = proxy.address()
  return { port: typeof address === "object" && address !== null ? address.port : 0, served: () => served }
}
