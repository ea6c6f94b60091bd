import { execFileSync } from "node:child_process"
import { writeFileSync } from "node:fs"
import { join } from "node:path"

/** Files of a certificate authority, of a server on localhost, and of a client, in one folder. */
export interface Certificates {
  readonly ca: string
  readonly serverCert: string
  readonly serverKey: string
  readonly clientCert: string
  readonly clientKey: string
}

/** Makes certificates with openssl, valid for a day; the server's is for `localhost` and 127.0.0.1. */
export function makeCertificates(folder: string): Certificates {
  const openssl = (...args: string[]): void => void execFileSync("openssl", args, { cwd: folder, stdio: "pipe" })
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
  openssl("req", "-x509", ...key, "-days", "1", "-subj", "/CN=Test CA", "-keyout", "ca.key", "-out", "ca.crt")
  for (const [name, subject] of [
    ["server", "/CN=localhost"],
    ["client", "/CN=client"],
  ] as const) {
    writeFileSync(join(folder, `${name}.ext`), "subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl("req", ...key, "-subj", subject, "-keyout", `${name}.key`, "-out", `${name}.csr`)
    const authority = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"]
    openssl("x509", "-req", "-in", `${name}.csr`, ...authority, "-days", "1", "-extfile", `${name}.ext`, "-out", `${name}.crt`)
  }
  const file = (name: string): string => join(folder, name)
  return {
    ca: file("ca.crt"),
    serverCert: file("server.crt"),
    serverKey: file("server.key"),
    clientCert: file("client.crt"),
    clientKey: file("client.key"),
  }
}
