import { createPrivateKey, X509Certificate } from "node:crypto"
import { createSecureContext, type SecureContextOptions } from "node:tls"
import { messageOf } from "@mqtt-trio/common"
import { readRegularFile } from "../../access/regular-file.js"
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

function read(file: string): Buffer {
  try {
    return readRegularFile(file)
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
