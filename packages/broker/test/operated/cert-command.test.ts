import { execFileSync } from "node:child_process"
import { X509Certificate } from "node:crypto"
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { isIP } from "node:net"
import { hostname, networkInterfaces } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { freePort, hasMosquitto, makeCertificates, runCli, RunningProcess, runProcess, temporaryFolder, waitFor } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { makeAuthority, newKey } from "../../src/commands/x509.js"
import { BROKER_ERRORS } from "../../src/errors.js"

const BIN = fileURLToPath(new URL("../../../../bin/", import.meta.url))
const DAY_MS = 86_400_000

const day = (days: number): string => new Date(Date.now() + days * DAY_MS).toISOString().slice(0, 10)

const text = (file: string): string => readFileSync(file, "utf8")

interface Run {
  readonly cwd: string
  readonly lines: string[]
  /** What was printed below a heading. */
  readonly below: (heading: string) => string[]
}

/** Runs `mqtt-broker cert`; it must be content. */
async function cert(args: readonly string[], cwd = temporaryFolder()): Promise<Run> {
  const { code, stdout, stderr } = await runCli("mqtt-broker", ["cert", ...args], { cwd })
  expect([code, stderr]).toEqual([0, ""])
  const lines = stdout.trimEnd().split("\n")
  const below = (heading: string): string[] => {
    const at = lines.indexOf(heading) + 1
    const rest = lines.slice(at === 0 ? lines.length : at)
    const end = rest.findIndex((one) => !one.startsWith("  "))
    return rest.slice(0, end < 0 ? rest.length : end).map((one) => one.trim())
  }
  return { cwd, lines, below }
}

function openssl(cwd: string, ...args: string[]): string {
  return execFileSync("openssl", args, { cwd, stdio: "pipe", encoding: "utf8" })
}

/** The extensions of a certificate as OpenSSL shows them, keys' identifiers as KEY. */
function extensions(cwd: string, file: string): string[] {
  const names = "basicConstraints,keyUsage,extendedKeyUsage,subjectKeyIdentifier,authorityKeyIdentifier"
  const text = openssl(cwd, "x509", "-in", `certs/${file}.crt`, "-noout", "-ext", names)
  return text
    .replaceAll(/([0-9A-F]{2}:){19}[0-9A-F]{2}/g, "KEY")
    .split("\n")
    .map((one) => one.trim())
    .filter(Boolean)
}

async function verified(cwd: string, file: string, ...args: string[]): Promise<boolean> {
  const { code } = await runProcess("openssl", ["verify", "-x509_strict", "-CAfile", "certs/ca.crt", ...args, file], { cwd })
  return code === 0
}

/** Runs a printed line as it is, on another port. */
function paste(line: string | undefined, { cwd, port }: { cwd: string; port: number }): RunningProcess {
  const command = (line ?? "no line").replace(":8883", `:${port}`).replace("NAME -P", "NAME -P secret")
  const env = { PATH: `${BIN}:${process.env["PATH"]}`, MQTT_BROKER_STORE: "memory:" }
  return new RunningProcess("bash", ["--norc", "-c", `exec ${command}`], { cwd, env })
}

const named = hostname().toLowerCase()
const addresses = Object.values(networkInterfaces()).flatMap(
  (some) => some?.filter(({ internal }) => !internal).map((one) => one.address) ?? [],
)

describe("mqtt-broker cert", async () => {
  const run = await cert([])
  const { cwd, lines } = run
  const names = lines[1]?.split(", for ")[1]?.split(", ") ?? []

  test("an authority and a certificate for this machine, keys for their owner alone", () => {
    expect(lines[0]).toBe(`certs/ca.crt: a new authority, until ${day(3650)}`)
    expect(lines[1]).toMatch(new RegExp(`^certs/server.crt: new, until ${day(365)}, for localhost, 127.0.0.1, ::1, `))
    expect(names).toEqual(
      expect.arrayContaining(["localhost", "127.0.0.1", "::1", named, ...addresses.filter((one) => !one.startsWith("fe80"))]),
    )
    const modes = readdirSync(join(cwd, "certs")).map((name) => [name, statSync(join(cwd, "certs", name)).mode & 0o777])
    expect(modes).toEqual([
      ["ca.crt", 0o644],
      ["ca.key", 0o600],
      ["server.crt", 0o644],
      ["server.key", 0o600],
    ])
  })

  test("OpenSSL verifies it strictly, by each of its names, as a server and nothing else", async () => {
    expect(await verified(cwd, "certs/server.crt", "-purpose", "sslserver")).toBe(true)
    expect(await verified(cwd, "certs/server.crt", "-purpose", "sslclient")).toBe(false)
    for (const name of names)
      expect(await verified(cwd, "certs/server.crt", isIP(name) === 0 ? "-verify_hostname" : "-verify_ip", name)).toBe(true)
    expect(await verified(cwd, "certs/server.crt", "-verify_hostname", "other.example")).toBe(false)
    expect(await verified(cwd, "certs/server.crt", "-verify_ip", "192.0.2.99")).toBe(false)
  })

  test("the extensions, and which of them are critical", () => {
    expect(extensions(cwd, "ca")).toEqual([
      "X509v3 Basic Constraints: critical",
      "CA:TRUE, pathlen:0",
      "X509v3 Key Usage: critical",
      "Certificate Sign, CRL Sign",
      "X509v3 Subject Key Identifier:",
      "KEY",
    ])
    expect(extensions(cwd, "server")).toEqual([
      "X509v3 Basic Constraints: critical",
      "CA:FALSE",
      "X509v3 Key Usage: critical",
      "Digital Signature",
      "X509v3 Extended Key Usage:",
      "TLS Web Server Authentication",
      "X509v3 Subject Key Identifier:",
      "KEY",
      "X509v3 Authority Key Identifier:",
      "KEY",
    ])
  })

  test("the lines for the broker and its clients work as they are printed", async () => {
    const port = await freePort()
    const [userLine] = run.below("a user:")
    expect(userLine).toBe("mqtt-broker user add NAME --password-file users")
    expect(await paste(`${userLine} <<< secret`, { cwd, port }).waitForEnd()).toMatchObject({ code: 0 })
    const broker = paste(run.below("broker:")[0], { cwd, port })
    await broker.waitForLine("ready at mqtts://")
    const [subLine, pubLine] = run.below("clients, with a copy of certs/ca.crt:")
    const sub = paste(subLine, { cwd, port })
    const hello = async (): Promise<boolean> => {
      expect(await paste(pubLine, { cwd, port }).waitForEnd()).toMatchObject({ code: 0 })
      return sub.stdout.includes("Hello\n")
    }
    await waitFor(hello, { what: "the message, once the subscriber is there" })

    // each name that leads here
    const env = { MQTT_USERNAME: "NAME", MQTT_PASSWORD: "secret" }
    for (const name of ["localhost", "127.0.0.1", ...addresses.filter((one) => isIP(one) === 4)]) {
      const ours = await runCli("mqtt-pub", ["-L", `mqtts://${name}:${port}`, "--cafile", "certs/ca.crt", "test", "x"], { cwd, env })
      expect(ours).toMatchObject({ code: 0, stderr: "" })
      if (!hasMosquitto()) continue
      const theirs = [
        "-h",
        name,
        "-p",
        `${port}`,
        "--cafile",
        "certs/ca.crt",
        "-u",
        "NAME",
        "-P",
        "secret",
        "-q",
        "1",
        "-t",
        "test",
        "-m",
        "x",
      ]
      expect(await runProcess("mosquitto_pub", theirs, { cwd })).toMatchObject({ code: 0, stderr: "" })
    }
  })
})

test("a certificate for other names than the one that is used is refused by clients", async () => {
  const run = await cert(["broker.home", "192.0.2.7", "*.Home", "tür.home"])
  const { cwd } = run
  expect(run.lines[1]).toBe(`certs/server.crt: new, until ${day(365)}, for broker.home, 192.0.2.7, *.home, xn--tr-xka.home`)
  const port = await freePort()
  const [line] = run.below("broker:")
  const files = "--tls-cert certs/server.crt --tls-key certs/server.key --password-file users"
  expect(line).toBe(`mqtt-broker start --listen mqtts://0.0.0.0:8883 ${files}`)
  const subscribe = "mqtt-sub test -L mqtts://broker.home:8883 --cafile certs/ca.crt -u NAME -P"
  expect(run.below("clients, with a copy of certs/ca.crt:")[0]).toBe(subscribe)
  writeFileSync(join(cwd, "users"), "# nobody yet\n")
  await paste(line, { cwd, port }).waitForLine("ready at mqtts://")
  const pub = await runCli("mqtt-pub", ["-L", `mqtts://localhost:${port}`, "--cafile", "certs/ca.crt", "test", "x"], { cwd })
  expect([pub.code, pub.stderr]).toEqual([expect.not.stringMatching(/^0$/), expect.stringContaining("localhost")])
  expect(pub.code).not.toBe(0)
  if (hasMosquitto()) {
    const theirs = ["-h", "localhost", "-p", `${port}`, "--cafile", "certs/ca.crt", "-t", "test", "-m", "x"]
    expect(await runProcess("mosquitto_pub", theirs, { cwd })).not.toMatchObject({ code: 0 })
  }
})

test("names that only this machine knows: no other one is let in", async () => {
  const run = await cert(["localhost", "127.0.0.1"])
  expect(run.below("broker:")).toEqual([
    "mqtt-broker start --listen mqtts://localhost:8883 --tls-cert certs/server.crt --tls-key certs/server.key",
  ])
  const port = await freePort()
  await paste(run.below("broker:")[0], { cwd: run.cwd, port }).waitForLine("open to this machine")
})

describe("once more", () => {
  test("the authority and the names stay, the certificate is new, and a running broker takes it", async () => {
    const { cwd } = await cert(["localhost", "--days", "2", "--dir", "my certs"])
    const [ca, before] = ["ca", "server"].map((name) => readFileSync(join(cwd, "my certs", `${name}.crt`)))
    const port = await freePort()
    const again = cert(["--dir", "my certs"], cwd)
    const broker = paste((await again).below("broker:")[0], { cwd, port })
    await broker.waitForLine("ready at mqtts://")
    const third = await cert(["--days", "5000", "--dir", "my certs"], cwd)
    expect(third.lines.slice(0, 2)).toEqual([
      `my certs/ca.crt: the authority that was there, until ${day(3650)}`,
      `my certs/server.crt: renewed, until ${day(3650)}, when its authority ends, instead of ${day(365)}, for localhost`,
    ])
    expect(third.below("broker:")[0]).toContain("--tls-cert 'my certs/server.crt'")
    await broker.waitForLine("was read again", { stream: "stderr" })
    expect(readFileSync(join(cwd, "my certs/ca.crt"))).toEqual(ca)
    expect(readFileSync(join(cwd, "my certs/server.crt"))).not.toEqual(before)
    const shown = await runProcess("openssl", ["s_client", "-connect", `localhost:${port}`], { cwd })
    expect(new X509Certificate(shown.stdout).serialNumber).toBe(
      new X509Certificate(readFileSync(join(cwd, "my certs/server.crt"))).serialNumber,
    )
    expect(await paste(third.below("clients, with a copy of 'my certs/ca.crt':")[1], { cwd, port }).waitForEnd()).toMatchObject({ code: 0 })
  })

  test("names replace those that were there, and stay", async () => {
    const { cwd } = await cert(["one.home"])
    const renewed = `certs/server.crt: renewed, until ${day(365)}, for two.home`
    expect((await cert(["two.home"], cwd)).lines[1]).toBe(`${renewed}, no longer for one.home`)
    expect((await cert([], cwd)).lines[1]).toBe(renewed)
  })

  test("one for this machine gets the addresses that it has by now", async () => {
    const { cwd } = await cert(["localhost", "127.0.0.1", "::1", "192.0.2.77"])
    const [, line] = (await cert([], cwd)).lines
    expect(line?.split(", for ")[1]?.split(", ").slice(0, 4)).toEqual(["localhost", "127.0.0.1", "::1", "192.0.2.77"])
    expect(line?.split(", for ")[1]?.split(", ")).toContain(named)
  })

  test("a long time: dates beyond 2050", async () => {
    const { cwd, lines } = await cert(["localhost", "--days", "36500"])
    expect(lines[0]).toContain(day(36_500))
    expect(await verified(cwd, "certs/server.crt", "-purpose", "sslserver")).toBe(true)
    expect(new Date(new X509Certificate(readFileSync(join(cwd, "certs/server.crt"))).validTo).toISOString().slice(0, 10)).toBe(day(36_500))
  })
})

describe("each once", () => {
  test("names and addresses", async () => {
    const { lines } = await cert(["a", "a", "A", "::1", "0:0::1", "[::1]"])
    expect(lines[1]).toMatch(/, for a, ::1$/)
  })

  test("clients", async () => {
    const { lines } = await cert(["--client", "a", "--client", "b", "--client", "a"])
    expect(lines.slice(0, lines.indexOf("")).filter((line) => line.includes("client"))).toHaveLength(2)
  })
})

describe("--client", () => {
  test("a certificate of the same authority; the printed lines let it in, and nobody else", async () => {
    const { cwd } = await cert(["localhost", "broker.home"])
    const server = readFileSync(join(cwd, "certs/server.crt"))
    const run = await cert(["--client", "sensor", "--client", "Zoë's 2/3"], cwd)
    expect(run.lines.slice(1, 3)).toEqual([
      `certs/client-sensor.crt: new, until ${day(365)}, for the client "sensor"`,
      `certs/client-Zo%C3%AB's%202%2F3.crt: new, until ${day(365)}, for the client "Zoë's 2/3"`,
    ])
    expect(readFileSync(join(cwd, "certs/server.crt"))).toEqual(server)
    expect(await verified(cwd, "certs/client-sensor.crt", "-purpose", "sslclient")).toBe(true)
    expect(await verified(cwd, "certs/client-sensor.crt", "-purpose", "sslserver")).toBe(false)
    const strange = new X509Certificate(readFileSync(join(cwd, "certs/client-Zo%C3%AB's%202%2F3.crt")))
    expect(strange.toLegacyObject().subject.CN).toBe("Zoë's 2/3")
    expect(statSync(join(cwd, "certs/client-sensor.key")).mode & 0o777).toBe(0o600)

    const port = await freePort()
    const [line] = run.below("broker:")
    const files = "--tls-cert certs/server.crt --tls-key certs/server.key --tls-ca certs/ca.crt"
    expect(line).toBe(`mqtt-broker start --listen mqtts://0.0.0.0:8883 ${files} --tls-require-cert --tls-user`)
    const broker = paste(line, { cwd, port })
    await broker.waitForLine("ready at mqtts://")
    for (const name of ["sensor", "Zoë's 2/3"])
      expect(
        await paste(run.below(`client ${JSON.stringify(name)}:`)[1]?.replace("broker.home", "localhost"), { cwd, port }).waitForEnd(),
      ).toMatchObject({ code: 0 })
    for (const shown of [[], ["--cert", "certs/server.crt", "--key", "certs/server.key"]])
      expect(
        await runCli("mqtt-pub", ["-L", `mqtts://localhost:${port}`, "--cafile", "certs/ca.crt", ...shown, "t", "x"], { cwd }),
      ).not.toMatchObject({ code: 0 })
    await broker.waitForLine("its certificate is not accepted", { stream: "stderr" })
  })

  test("in an empty folder everything is made", async () => {
    const { cwd } = await cert(["--client", "a"])
    expect(readdirSync(join(cwd, "certs"))).toEqual(["ca.crt", "ca.key", "client-a.crt", "client-a.key", "server.crt", "server.key"])
    expect((await cert(["--client", "a"], cwd)).lines[1]).toMatch(/^certs\/client-a\.crt: renewed/)
  })
})

describe("an authority that is not ours signs too", () => {
  test.each([
    ["RSA", ["rsa:2048"]],
    ["P-384", ["ec", "-pkeyopt", "ec_paramgen_curve:secp384r1"]],
  ])("%s", async (_, key) => {
    const cwd = temporaryFolder()
    execFileSync("mkdir", ["certs"], { cwd })
    const made = ["-days", "30", "-subj", "/C=DE/O=Haus/CN=Wurzel ü", "-utf8", "-keyout", "certs/ca.key", "-out", "certs/ca.crt"]
    openssl(cwd, "req", "-x509", "-newkey", ...key, "-nodes", "-addext", "keyUsage=critical,keyCertSign", ...made)
    const { lines } = await cert(["localhost"], cwd)
    expect(lines[0]).toBe(`certs/ca.crt: the authority that was there, until ${day(30)}`)
    expect(lines[1]).toBe(`certs/server.crt: new, until ${day(30)}, when its authority ends, for localhost`)
    expect(await verified(cwd, "certs/server.crt", "-purpose", "sslserver", "-verify_hostname", "localhost")).toBe(true)
  })
})

describe("what is another one's stays", () => {
  const own = temporaryFolder()
  const { ca, serverCert, serverKey, clientCert } = makeCertificates(own)
  const rsaKey = openssl(own, "genrsa", "2048")
  const other = "give --dir another folder, or move it away"
  const CASES: [what: string, files: Record<string, string>, stderr: string][] = [
    [
      "a certificate of somebody else",
      { "server.crt": text(serverCert) },
      `the certificate "server.crt" is not of the authority "ca.crt", and stays\nhint: ${other}`,
    ],
    ["a key alone, of another kind", { "server.key": rsaKey }, `there is "server.key" without "server.crt", and it stays\nhint: ${other}`],
    ["an authority's key alone, of another kind", { "ca.key": rsaKey }, `there is "ca.key" without "ca.crt", and it stays\nhint: ${other}`],
    ["an authority without a key", { "ca.crt": text(ca) }, `the authority "ca.crt" is there without its key "ca.key"\nhint: ${other}`],
    [
      "an authority with another key",
      { "ca.crt": text(ca), "ca.key": text(serverKey) },
      `the key "ca.key" does not belong to the certificate "ca.crt"\nhint: ${other}`,
    ],
    [
      "a certificate that is no authority's",
      { "ca.crt": text(clientCert), "ca.key": text(join(own, "client.key")) },
      `the certificate "ca.crt" is not that of an authority\nhint: ${other}`,
    ],
    ["a text", { "ca.crt": "text", "ca.key": text(serverKey) }, '"ca.crt" has no certificate in PEM'],
    ["a text for a key", { "ca.crt": text(ca), "ca.key": "text" }, '"ca.key" has no private key without a password in PEM'],
  ]

  test.each(CASES)("%s", async (_, files, stderr) => {
    const cwd = temporaryFolder()
    for (const [name, content] of Object.entries(files)) writeFileSync(join(cwd, name), content)
    const result = await runCli("mqtt-broker", ["cert", "localhost", "--dir", "."], { cwd })
    expect(result).toMatchObject({ code: BROKER_ERRORS["tls-unusable"].exitCode, stdout: "", stderr: `error: ${stderr}\n` })
    for (const [name, content] of Object.entries(files)) expect(text(join(cwd, name))).toBe(content)
    expect(readdirSync(cwd)).toEqual(Object.keys(files))
  })

  test("an authority that has ended", async () => {
    const cwd = temporaryFolder()
    const key = newKey()
    writeFileSync(join(cwd, "ca.crt"), await makeAuthority(key, "old", new Date(Date.now() - 1000)))
    writeFileSync(join(cwd, "ca.key"), key.export({ type: "pkcs8", format: "pem" }))
    const { code, stderr } = await runCli("mqtt-broker", ["cert", "--dir", "."], { cwd })
    expect([code, stderr]).toEqual([
      16,
      expect.stringMatching(
        /^error: the authority "ca\.crt" has ended, .* GMT\nhint: give --dir another folder, or move it away; each client needs the new one then\n$/,
      ),
    ])
  })

  test("a folder that cannot be written: exit code 7", async () => {
    const { code, stderr } = await runCli("mqtt-broker", ["cert", "--dir", "/proc/certs"])
    expect([code, stderr]).toEqual([7, expect.stringMatching(/^error: cannot write "\/proc\/certs": ENOENT.*\n$/)])
  })

  test("a folder in one that is not there: exit code 7, and what to do", async () => {
    const { code, stderr } = await runCli("mqtt-broker", ["cert", "--dir", "a/b/c"], { cwd: temporaryFolder() })
    expect([code, stderr]).toEqual([
      7,
      expect.stringMatching(/^error: cannot write "a\/b\/c": ENOENT.*\nhint: make the folder "a\/b" first\n$/),
    ])
  })
})
