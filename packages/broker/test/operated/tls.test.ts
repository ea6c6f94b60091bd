import { execFileSync } from "node:child_process"
import { copyFileSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { type ConnectionOptions, TLSSocket } from "node:tls"
import { type Certificates, makeCertificates, runCli, runProcess, startBroker, temporaryFolder, waitFor } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { BROKER_ERRORS } from "../../src/errors.js"
import { type Doors, logged, startDoors } from "../support/doors.js"
import { Peer } from "../support/peer.js"
import { timedCertificate } from "../support/timed-certificate.js"
import { connect } from "../support/wire.js"

const doors = await startDoors()

describe("versions of TLS", () => {
  test.each([
    ["TLSv1.2", true],
    ["TLSv1.3", true],
    ["TLSv1.1", false],
    ["TLSv1", false],
  ] as const)("%s: %s", async (version, taken) => {
    for (const kind of ["mqtts", "wss"] as const) {
      const args = ["s_client", "-connect", `127.0.0.1:${doors.port(kind)}`, `-${version.toLowerCase().replace(".", "_").replace("v", "")}`]
      const { stdout, code } = await runProcess("openssl", [...args, "-cipher", "DEFAULT@SECLEVEL=0"])
      expect([code === 0, stdout.includes(`New, ${version}, Cipher is `)]).toEqual([taken, taken])
    }
  })
})

const STRONG = ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"]

describe("ciphers of TLS 1.2", () => {
  test.each([
    ["ECDSA", ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]],
    ["RSA", ["rsa:2048"]],
  ])("a key of %s: of all that OpenSSL knows, those that are strong and keep old connections secret", async (kind, key) => {
    const dir = temporaryFolder()
    const files = ["-keyout", join(dir, "key.pem"), "-out", join(dir, "cert.pem")]
    execFileSync("openssl", ["req", "-x509", "-newkey", ...key, "-nodes", "-subj", "/CN=localhost", ...files], { stdio: "pipe" })
    const args = ["--listen", "mqtts://127.0.0.1:0", "--tls-cert", join(dir, "cert.pem"), "--tls-key", join(dir, "key.pem")]
    const { urls } = await startBroker({ store: "memory:", args })
    const client = ["s_client", "-connect", new URL(urls[1] ?? "").host, "-tls1_2"]
    const taken: string[] = []
    for (;;) {
      // all but those that are known to be taken: the broker takes another one, or none
      const offer = ["ALL", "COMPLEMENTOFALL", "@SECLEVEL=0", ...taken.map((one) => `!${one}`)].join(":")
      const { stdout } = await runProcess("openssl", [...client, "-cipher", offer])
      const cipher = /New, TLSv1.2, Cipher is (\S+)/.exec(stdout)?.[1]
      if (cipher === undefined) break
      taken.push(cipher)
    }
    expect(taken.toSorted()).toEqual(STRONG.map((one) => `ECDHE-${kind}-${one}`))
  })
})

/** What a client shows. */
const shown = ({ clientCert, clientKey }: Certificates): ConnectionOptions => ({
  cert: readFileSync(clientCert),
  key: readFileSync(clientKey),
})

/** Doors for clients of an authority of their own; the client of the certificates is one of them. */
async function strict(): Promise<Doors> {
  const own = makeCertificates(temporaryFolder())
  const made = await startDoors(["--tls-require-cert", "--tls-ca", own.ca])
  return { ...made, certificates: { ...made.certificates, clientCert: own.clientCert, clientKey: own.clientKey } }
}

describe("--tls-require-cert", () => {
  test.each(["TLSv1.2", "TLSv1.3"] as const)(
    "%s: a certificate of the authority is let in, none and a stranger's are not",
    async (version) => {
      const { broker, open, certificates } = await strict()
      const only = { minVersion: version, maxVersion: version }
      await (await Peer.connected(open("mqtts", { ...shown(certificates), ...only }), 4)).settled()
      for (const options of [only, { ...shown(doors.certificates), ...only }]) {
        const peer = new Peer(open("mqtts", options), 4)
        peer.send(connect(4))
        expect(await peer.ended()).toEqual([])
      }
      await logged(broker, "it shows no certificate, and --tls-require-cert asks for one")
      await logged(broker, /127\.0\.0\.1:\d+ was closed: its certificate is not accepted: its authority is none of --tls-ca/)
      expect(
        await runCli("mqtt-pub", [
          "--url",
          `mqtts://localhost:${new URL(broker.urls[1] ?? "").port}`,
          "--cafile",
          certificates.ca,
          "t",
          "x",
        ]),
      ).not.toMatchObject({ code: 0 })
    },
  )

  test("a certificate that is made for servers: the log says so, and where it came from", async () => {
    const dir = temporaryFolder()
    const made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=x", "-addext"]
    const openssl = ["req", "-x509", ...made, "extendedKeyUsage=serverAuth", "-keyout", "x.key", "-out", "x.crt"]
    execFileSync("openssl", openssl, { cwd: dir, stdio: "pipe" })
    const { broker, open } = await startDoors(["--tls-require-cert", "--tls-ca", join(dir, "x.crt")])
    await new Peer(open("mqtts", { cert: readFileSync(join(dir, "x.crt")), key: readFileSync(join(dir, "x.key")) }), 4).ended()
    await logged(broker, /127\.0\.0\.1:\d+ was closed: its certificate is not accepted: it is not made for clients/)
  })

  test("the ready message says so", async () => {
    const { broker } = await strict()
    const { listeners } = JSON.parse(broker.stdout)
    expect(listeners.map(({ access }: { access: string }) => access)).toEqual([
      "this machine, without a password",
      "this machine, with a certificate of --tls-ca",
      "this machine, without a password",
      "this machine, with a certificate of --tls-ca",
      "this machine, without a password",
    ])
  })
})

describe("files that cannot be used: one sentence that names the file, exit code 16", () => {
  const dir = temporaryFolder()
  const [own, other] = [makeCertificates(dir), makeCertificates(temporaryFolder())]
  const file = (name: string, text: string): string => {
    writeFileSync(join(dir, name), text)
    return join(dir, name)
  }
  const { serverCert, serverKey } = own
  const half = file("half.crt", readFileSync(serverCert, "utf8").slice(0, 300))
  const text = file("text.pem", "no certificate\n")
  const CASES: [what: string, files: [cert: string, key: string, ca: string], message: string][] = [
    ["no certificate file", [join(dir, "no.crt"), serverKey, ""], `cannot read "${join(dir, "no.crt")}": ENOENT`],
    ["no key file", [serverCert, join(dir, "no.key"), ""], `cannot read "${join(dir, "no.key")}": ENOENT`],
    ["a folder", [dir, serverKey, ""], `cannot read "${dir}": it is a folder`],
    ["half a certificate", [half, serverKey, ""], `"${half}" has no certificate in PEM\n`],
    ["a text for a key", [serverCert, text, ""], `"${text}" has no private key without a password in PEM\n`],
    [
      "another one's key",
      [serverCert, other.serverKey, ""],
      `the key "${other.serverKey}" does not belong to the certificate "${serverCert}"\n`,
    ],
    ["a text for an authority", [serverCert, serverKey, text], `"${text}" has no certificate in PEM\n`],
    ["no authority file", [serverCert, serverKey, join(dir, "no.ca")], `cannot read "${join(dir, "no.ca")}": ENOENT`],
  ]

  test.each(["certificate", "authority"])("DER instead of PEM: the hint makes PEM of it (%s)", async (what) => {
    const der = join(dir, "server.der")
    execFileSync("openssl", ["x509", "-in", serverCert, "-outform", "DER", "-out", der], { stdio: "pipe" })
    const files = ["--tls-cert", what === "certificate" ? der : serverCert, "--tls-key", serverKey]
    const authority = what === "authority" ? ["--tls-ca", der, "--tls-require-cert"] : []
    const { code, stderr } = await runCli("mqtt-broker", ["check", "--listen", "mqtts://127.0.0.1:0", ...files, ...authority])
    const hint = `it is DER; openssl x509 -inform DER -in "${der}" prints it as PEM`
    expect([code, stderr]).toEqual([16, `error: "${der}" has no certificate in PEM\nhint: ${hint}\n`])
  })

  test.each(CASES)("%s", async (_, [cert, key, ca], message) => {
    const args = ["start", "--store", "memory:", "--listen", "mqtts://127.0.0.1:0", "--tls-cert", cert, "--tls-key", key]
    const result = await runCli("mqtt-broker", ca === "" ? args : [...args, "--tls-ca", ca, "--tls-require-cert"])
    expect([result.code, result.stdout]).toEqual([BROKER_ERRORS["tls-unusable"].exitCode, ""])
    expect(result.stderr.startsWith(`error: ${message}`)).toBe(true)
    expect(result.stderr.split("\n")).toHaveLength(2)
  })
})

/** The certificate that a new connection is shown. */
async function served({ open, certificates }: Doors): Promise<string> {
  const stream = open("mqtts", { ca: [readFileSync(certificates.ca), readFileSync(join(certificates.ca, "../new/ca.crt"))] })
  await (await Peer.connected(stream, 4)).settled()
  if (!(stream instanceof TLSSocket)) throw new Error("no TLS")
  return stream.getPeerX509Certificate()?.serialNumber ?? ""
}

describe("when the files change", () => {
  test("new connections see the new certificate, open ones stay; a wrong file changes nothing and says so", async () => {
    const made = await startDoors()
    const { broker, certificates, open } = made
    const folder = join(certificates.ca, "../new")
    await runProcess("mkdir", [folder])
    const fresh = makeCertificates(folder)
    const staying = await Promise.all((["mqtts", "wss"] as const).map(async (kind) => Peer.connected(open(kind), 4)))
    const before = await served(made)

    // the key of the next pair comes too late: what was read before stays
    copyFileSync(fresh.serverCert, certificates.serverCert)
    await logged(broker, "does not belong to the certificate")
    await logged(broker, "those read before stay")
    expect(await served(made)).toBe(before)

    copyFileSync(fresh.serverKey, certificates.serverKey)
    await waitFor(async () => (await served(made)) !== before, { what: "the new certificate" })

    rmSync(certificates.serverKey)
    await logged(broker, "ENOENT")
    expect(await served(made)).not.toBe(before)
    for (const peer of staying) expect(await peer.settled()).toEqual([])
  })

  test("SIGHUP reads the files at once, whatever the clock of the files says", async () => {
    const made = await startDoors()
    const { broker, certificates, open } = made
    const folder = join(certificates.ca, "../new")
    await runProcess("mkdir", [folder])
    const fresh = makeCertificates(folder)
    const staying = await Peer.connected(open("mqtts"), 4)
    const before = await served(made)
    copyFileSync(fresh.serverCert, certificates.serverCert)
    copyFileSync(fresh.serverKey, certificates.serverKey)
    process.kill(broker.pid, "SIGHUP")
    await logged(broker, "was read again")
    expect(await served(made)).not.toBe(before)
    expect(await staying.settled()).toEqual([])
  })
})

test("an expired certificate has one line at the start, and one when it is read again", async () => {
  const [valid, expired] = [timedCertificate(-1, 1), timedCertificate(-2, -1)]
  const files = [join(temporaryFolder(), "cert"), join(temporaryFolder(), "key")] as const
  const show = ({ cert, key }: { cert: string; key: string }): void => {
    copyFileSync(cert, files[0])
    copyFileSync(key, files[1])
  }
  show(expired)
  const args = ["--listen", "mqtts://127.0.0.1:0", "--tls-cert", files[0], "--tls-key", files[1]]
  const broker = await startBroker({ store: "memory:", args })
  const times = (text: string): number => broker.stderr.split(text).length - 1
  await logged(broker, /"level":"warn".*the certificate .*\/cert.* has expired, /)
  // SIGHUP reads both files at once; the watch may read them once more
  const reread = async (): Promise<void> => {
    const before = times("was read again")
    process.kill(broker.pid, "SIGHUP")
    await waitFor(() => times("was read again") > before, { what: "the files are read again" })
  }
  show(valid)
  await reread()
  expect(times("has expired")).toBe(1)
  show(expired)
  await reread()
  await waitFor(() => times("has expired") > 1, { what: "the line of the expired certificate" })
})
