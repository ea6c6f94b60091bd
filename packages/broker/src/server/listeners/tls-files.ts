import { createPrivateKey, X509Certificate } from "node:crypto"
import { readFileSync, unwatchFile, watchFile } from "node:fs"
import { createSecureContext, type SecureContextOptions } from "node:tls"
import { messageOf } from "@mqtt-trio/common"
import { BrokerError } from "../../errors.js"

/** The files behind TLS, all PEM. */
export interface TlsFiles {
  /** the server's certificate, and those between it and its authority */
  readonly cert: string
  readonly key: string
  /** authorities whose certificates clients must show; undefined: clients show none */
  readonly clientCa: string | undefined
}

/** What keeps a recorded connection secret when the key gets lost, and no other; TLS 1.3 has nothing else. */
const CIPHERS = [
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
  "TLS_AES_128_GCM_SHA256",
  ...["AES256-GCM-SHA384", "CHACHA20-POLY1305", "AES128-GCM-SHA256"].flatMap((one) => [`ECDHE-ECDSA-${one}`, `ECDHE-RSA-${one}`]),
].join(":")

/** How often the files are looked at, and how long they must have been left alone before they are read again, in ms. */
const LOOK_MS = 1000
const SETTLE_MS = 500

/** What the files say. Throws a BrokerError that names the file which cannot be used. */
export function readTlsFiles({ cert, key, clientCa }: TlsFiles): SecureContextOptions {
  const [certBytes, keyBytes] = [read(cert), read(key)]
  const options: SecureContextOptions = { cert: certBytes, key: keyBytes, minVersion: "TLSv1.2", ciphers: CIPHERS }
  const certificate = parsed(cert, "certificate", () => new X509Certificate(certBytes))
  const privateKey = parsed(key, "private key without a password", () => createPrivateKey(keyBytes))
  if (clientCa !== undefined) {
    const bytes = read(clientCa)
    // TLS itself would take what is no certificate, and then nobody's
    parsed(clientCa, "certificate", () => new X509Certificate(bytes))
    options.ca = bytes
  }
  if (!certificate.checkPrivateKey(privateKey)) throw unusable(`the key ${quoted(key)} does not belong to the certificate ${quoted(cert)}`)
  try {
    createSecureContext(options)
  } catch (error) {
    throw unusable(`the certificate ${quoted(cert)} with the key ${quoted(key)} cannot be used: ${messageOf(error)}`, error)
  }
  return options
}

/** Calls `changed` when one of the files was, and all are left alone again; returns what ends that. */
export function watchTlsFiles({ cert, key, clientCa }: TlsFiles, changed: () => void): () => void {
  let timer: NodeJS.Timeout | undefined
  // looking again and again also sees what a link, or a mounted folder, now leads to
  const look = (): void => {
    clearTimeout(timer)
    timer = setTimeout(changed, SETTLE_MS)
  }
  const files = [cert, key, ...(clientCa === undefined ? [] : [clientCa])]
  for (const file of files) watchFile(file, { interval: LOOK_MS }, look)
  return () => {
    clearTimeout(timer)
    for (const file of files) unwatchFile(file, look)
  }
}

function read(file: string): Buffer {
  try {
    return readFileSync(file)
  } catch (error) {
    throw unusable(`cannot read ${quoted(file)}: ${messageOf(error)}`, error)
  }
}

function parsed<T>(file: string, what: string, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    throw unusable(`${quoted(file)} has no ${what} in PEM`, error)
  }
}

function unusable(message: string, cause?: unknown): BrokerError {
  return new BrokerError("tls-unusable", message, { cause })
}

function quoted(file: string): string {
  return JSON.stringify(file)
}
