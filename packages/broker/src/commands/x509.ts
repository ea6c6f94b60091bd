import "reflect-metadata" // the library needs it to be there first
import {
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  webcrypto,
  type X509Certificate as NodeCertificate,
} from "node:crypto"
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

/** What a certificate is for: a server that has these names and addresses, or a client. */
export type Purpose = { readonly kind: "server"; readonly names: readonly string[] } | { readonly kind: "client" }

/** Who signs. */
export interface Signer {
  readonly cert: NodeCertificate
  readonly key: KeyObject
}

/** What a certificate says. */
export interface Statement {
  /** Common Name */
  readonly name: string
  readonly purpose: Purpose
  readonly until: Date
}

const NEW_CURVE = "prime256v1"
const NEW_KEY = { name: "ECDSA", namedCurve: "P-256" }
/** Names of curves: those of OpenSSL, and those of WebCrypto. */
const CURVES: Readonly<Record<string, string>> = { prime256v1: "P-256", secp384r1: "P-384", secp521r1: "P-521" }
/** Clocks of clients may be behind by this much, in ms. */
const CLOCK_MS = 3_600_000

/** A new private key, of the only kind that this makes. */
export function newKey(): KeyObject {
  return generateKeyPairSync("ec", { namedCurve: NEW_CURVE }).privateKey
}

/** Whether {@link newKey} may have made it. */
export function isLikeNew({ asymmetricKeyDetails }: KeyObject): boolean {
  return asymmetricKeyDetails?.namedCurve === NEW_CURVE
}

/**
 * The certificate of a new authority, in PEM, whose certificates are those of servers and clients, not of further authorities.
 * @param key one that {@link isLikeNew}
 */
export async function makeAuthority(key: KeyObject, name: string, until: Date): Promise<string> {
  const keys = {
    privateKey: await webcrypto.subtle.importKey("pkcs8", pkcs8(key), NEW_KEY, false, ["sign"]),
    publicKey: await webcrypto.subtle.importKey("spki", spki(key), NEW_KEY, true, ["verify"]),
  }
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
  return pem(cert)
}

/** A certificate of this private key, in PEM (RFC 5280). Undefined: the signer's key is of a kind that this does not know. */
export async function issue(signer: Signer, key: KeyObject, { name, purpose, until }: Statement): Promise<string | undefined> {
  const algorithm = algorithmOf(signer.key)
  if (!algorithm) return undefined
  const authority = new X509Certificate(signer.cert.raw)
  const cert = await X509CertificateGenerator.create({
    ...commonFields(until),
    subject: subject(name),
    issuer: authority.subjectName,
    publicKey: spki(key),
    signingKey: await webcrypto.subtle.importKey("pkcs8", pkcs8(signer.key), algorithm, false, ["sign"]),
    signingAlgorithm: algorithm,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      ...purposeOf(purpose),
      await SubjectKeyIdentifierExtension.create(spki(key)),
      await identifierOf(authority),
    ],
  })
  return pem(cert)
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

function pkcs8(key: KeyObject): Buffer {
  return key.export({ type: "pkcs8", format: "der" })
}

/** The public key that belongs to a private one. */
function spki(key: KeyObject): Buffer {
  return createPublicKey(key).export({ type: "spki", format: "der" })
}

function pem(cert: X509Certificate): string {
  return `${cert.toString("pem")}\n`
}
