import "reflect-metadata" // the library needs it to be there first
import { type KeyObject, KeyObject as NodeKey, randomBytes, webcrypto, type X509Certificate as NodeCertificate } from "node:crypto"
import { isIP } from "node:net"
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Name,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509"

/** A certificate and its private key, both PEM. */
export interface KeyPair {
  readonly cert: string
  readonly key: string
}

/** What a certificate is for: a server that has these names and addresses, or a client. */
export type Purpose = { readonly kind: "server"; readonly names: readonly string[] } | { readonly kind: "client" }

/** Who signs. */
export interface Signer {
  readonly cert: NodeCertificate
  readonly key: KeyObject
}

const NEW_KEY = { name: "ECDSA", namedCurve: "P-256" }
/** Names of curves: those of OpenSSL, and those of WebCrypto. */
const CURVES: Readonly<Record<string, string>> = { prime256v1: "P-256", secp384r1: "P-384", secp521r1: "P-521" }
/** Clocks of clients may be behind by this much, in ms. */
const CLOCK_MS = 3_600_000

/** A new authority, whose certificates are those of servers and clients, not of further authorities. */
export async function makeAuthority(name: string, until: Date): Promise<KeyPair> {
  const keys = await webcrypto.subtle.generateKey(NEW_KEY, true, ["sign", "verify"])
  const cert = await X509CertificateGenerator.createSelfSigned({
    ...commonFields(until),
    name: subject(name),
    keys,
    signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  return pem(cert, keys.privateKey)
}

/** A new key and its certificate (RFC 5280). Undefined: the signer's key is of a kind that this does not know. */
export async function issue(signer: Signer, name: string, purpose: Purpose, until: Date): Promise<KeyPair | undefined> {
  const algorithm = algorithmOf(signer.key)
  if (!algorithm) return undefined
  const pkcs8 = signer.key.export({ type: "pkcs8", format: "der" })
  const authority = new X509Certificate(signer.cert.raw)
  const keys = await webcrypto.subtle.generateKey(NEW_KEY, true, ["sign", "verify"])
  const cert = await X509CertificateGenerator.create({
    ...commonFields(until),
    subject: subject(name),
    issuer: authority.subjectName,
    publicKey: keys.publicKey,
    signingKey: await webcrypto.subtle.importKey("pkcs8", pkcs8, algorithm, false, ["sign"]),
    signingAlgorithm: algorithm,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      ...purposeOf(purpose),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
      await identifierOf(authority),
    ],
  })
  return pem(cert, keys.privateKey)
}

/** The names and addresses of a server's certificate, in its order. */
export function namesOf(cert: NodeCertificate): string[] {
  const names = new X509Certificate(cert.raw).getExtension(SubjectAlternativeNameExtension)?.names.items ?? []
  return names.filter(({ type }) => type === "dns" || type === "ip").map(({ value }) => value)
}

function commonFields(until: Date): { serialNumber: string; notBefore: Date; notAfter: Date } {
  const serial = randomBytes(16)
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40 // a positive number that needs all of its bytes
  return { serialNumber: serial.toString("hex"), notBefore: new Date(Date.now() - CLOCK_MS), notAfter: until }
}

function subject(name: string): Name {
  return new Name([{ CN: [{ utf8String: name }] }])
}

function purposeOf(purpose: Purpose): Extension[] {
  if (purpose.kind === "client") return [new ExtendedKeyUsageExtension([ExtendedKeyUsage.clientAuth])]
  const names = purpose.names.map((value) => ({ type: isIP(value) === 0 ? ("dns" as const) : ("ip" as const), value }))
  return [new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]), new SubjectAlternativeNameExtension(names)]
}

/** The authority's key, by the name that its own certificate gives it. */
async function identifierOf(authority: X509Certificate): Promise<AuthorityKeyIdentifierExtension> {
  const own = authority.getExtension(SubjectKeyIdentifierExtension)?.keyId
  return own === undefined ? AuthorityKeyIdentifierExtension.create(authority.publicKey) : new AuthorityKeyIdentifierExtension(own)
}

function algorithmOf({
  asymmetricKeyType,
  asymmetricKeyDetails,
}: KeyObject): { name: string; hash: string; namedCurve?: string } | undefined {
  if (asymmetricKeyType === "rsa") return { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" }
  const namedCurve = CURVES[asymmetricKeyDetails?.namedCurve ?? ""]
  return namedCurve === undefined ? undefined : { name: "ECDSA", hash: "SHA-256", namedCurve }
}

function pem(cert: X509Certificate, key: webcrypto.CryptoKey): KeyPair {
  return { cert: `${cert.toString("pem")}\n`, key: NodeKey.from(key).export({ type: "pkcs8", format: "pem" }).toString() }
}
