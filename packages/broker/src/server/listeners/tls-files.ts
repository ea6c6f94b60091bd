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

/**
 * What is wrong with the time of the certificates and authorities, in words, at most one for each file; nothing while all are valid.
 * @param soonMs one that ends within this time is told too
 */
export function timeProblems({ cert, clientCa }: Pick<TlsFiles, "cert" | "clientCa">, soonMs = 0): string[] {
  const ofClients = clientCa === undefined ? [] : problemsOf("an authority in", clientCa, soonMs)
  return [...problemsOf("the certificate", cert, soonMs).slice(0, 1), ...ofClients.slice(0, 1)]
}

/** The first to end comes first. */
function problemsOf(what: string, file: string, soonMs: number): string[] {
  const now = Date.now()
  const times = certificatesIn(read(file)).map(({ validFrom, validTo }) => ({ from: new Date(validFrom), to: new Date(validTo) }))
  return times
    .toSorted((one, other) => Number(one.to) - Number(other.to))
    .flatMap(({ from, to }) => {
      if (Number(to) <= now) return `${what} ${quoted(file)} has expired, ${to.toISOString()}: renew it`
      if (Number(from) > now) return `${what} ${quoted(file)} is not valid before ${from.toISOString()}: look at this machine's clock`
      return Number(to) < now + soonMs ? `${what} ${quoted(file)} expires soon, ${to.toISOString()}: renew it` : []
    })
}

/** Those that can be read: a file of authorities may have others. */
function certificatesIn(pem: Buffer): X509Certificate[] {
  const texts = pem.toString("latin1").match(/-----BEGIN ((?:TRUSTED |X509 )?CERTIFICATE)-----[^-]*-----END \1-----/g) ?? []
  return texts.flatMap((text) => {
    try {
      return new X509Certificate(text)
    } catch {
      return []
    }
  })
}

function read(file: string): Buffer {
  try {
    return readRegularFile(file)
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
