import { createPrivateKey, X509Certificate } from "node:crypto"
import { readFileSync } from "node:fs"
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

/** What the files say. Throws a BrokerError that names the file which cannot be used. */
export function readTlsFiles({ cert, key, clientCa }: TlsFiles): SecureContextOptions {
  const [certBytes, keyBytes] = [read(cert), read(key)]
  const options: SecureContextOptions = { cert: certBytes, key: keyBytes, minVersion: "TLSv1.2", ciphers: CIPHERS }
  const certificate = parsed(cert, "certificate", () => certificateOf(certBytes))
  const privateKey = parsed(key, "private key without a password", () => createPrivateKey(keyBytes))
  if (clientCa !== undefined) {
    const bytes = read(clientCa)
    // TLS itself would take what is no certificate, and then nobody's
    parsed(clientCa, "certificate", () => certificateOf(bytes))
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
    return readFileSync(file)
  } catch (error) {
    throw unusable(`cannot read ${quoted(file)}: ${messageOf(error)}`, error)
  }
}

/** The first certificate of a file. Throws when it is not PEM: this class would take DER too, and TLS does not. */
function certificateOf(bytes: Buffer): X509Certificate {
  const certificate = new X509Certificate(bytes)
  if (!bytes.includes("-----BEGIN ")) throw new NotPem("it is DER")
  return certificate
}

class NotPem extends Error {}

function parsed<T>(file: string, what: string, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    const hint = error instanceof NotPem ? `it is DER; openssl x509 -inform DER -in ${quoted(file)} prints it as PEM` : undefined
    throw unusable(`${quoted(file)} has no ${what} in PEM`, error, hint)
  }
}

function unusable(message: string, cause?: unknown, hint?: string): BrokerError {
  return new BrokerError("tls-unusable", message, hint === undefined ? { cause } : { cause, hint })
}

function quoted(file: string): string {
  return JSON.stringify(file)
}
