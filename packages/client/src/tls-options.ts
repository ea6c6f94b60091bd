import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { rootCertificates, type ConnectionOptions } from "node:tls"
import type { ConnectionSettings } from "@mqtt-trio/common"
import { bytesOf, CliError, messageOf, quoted } from "@mqtt-trio/common/basics"

/** Where systems keep the certificates they trust, in PEM. */
const SYSTEM_TRUST = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/ssl/cert.pem",
]

/** The TLS options of Node.js for a connection; reads the files that the settings name. Throws a usage error for one that cannot be read. */
export function tlsOptions({ tls, target }: ConnectionSettings): ConnectionOptions {
  const host = target.kind === "tcp" ? target.host : "localhost"
  const minimum = tls.tlsVersion?.replace("tlsv", "TLSv")
  const options: ConnectionOptions = { rejectUnauthorized: !tls.insecure, ca: trusted(tls.cafile, tls.capath) }
  const name = tls.servername ?? (/^[\d.]+$|:/.test(host) ? undefined : host)
  if (name !== undefined) options.servername = name
  if (minimum === "TLSv1.1" || minimum === "TLSv1.2" || minimum === "TLSv1.3")
    Object.assign(options, { minVersion: minimum, maxVersion: minimum })
  if (tls.ciphers !== undefined) options.ciphers = tls.ciphers
  if (tls.tlsAlpn !== undefined) options.ALPNProtocols = [tls.tlsAlpn]
  if (tls.cert !== undefined) options.cert = readGiven("--cert", tls.cert)
  if (tls.key !== undefined && tls.keyform === "engine")
    Object.assign(options, { privateKeyIdentifier: tls.key, privateKeyEngine: tls.tlsEngine })
  else if (tls.key !== undefined) options.key = readGiven("--key", tls.key)
  if (tls.psk === undefined || tls.pskIdentity === undefined) return options
  const psk = { psk: Buffer.from(tls.psk, "hex"), identity: tls.pskIdentity }
  return { ...options, pskCallback: () => psk, checkServerIdentity: () => undefined, ciphers: tls.ciphers ?? "PSK", maxVersion: "TLSv1.2" }
}

function trusted(cafile: string | undefined, capath: string | undefined): (string | Buffer)[] {
  if (cafile !== undefined) return [readGiven("--cafile", cafile)]
  if (capath !== undefined) return folderFiles(capath).map((name) => readGiven("--capath", join(capath, name)))
  const system = process.env["SSL_CERT_FILE"] === undefined ? SYSTEM_TRUST : [process.env["SSL_CERT_FILE"]]
  return [...rootCertificates, ...system.flatMap(readIfThere)]
}

function folderFiles(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => /\.(pem|crt|cer)$|\.\d+$/.test(name))
  } catch (error) {
    throw new CliError("usage", `--capath: cannot read ${quoted(folder)}: ${messageOf(error)}`, { cause: error })
  }
}

function readGiven(flag: string, file: string): Buffer {
  try {
    return readFileSync(bytesOf(file))
  } catch (error) {
    throw new CliError("usage", `${flag}: cannot read ${quoted(file)}: ${messageOf(error)}`, { cause: error })
  }
}

function readIfThere(file: string): Buffer[] {
  try {
    return [readFileSync(file)]
  } catch {
    return []
  }
}
