import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { messageOf, quoted, systemCode } from "@mqtt-trio/common"
import { BrokerError } from "../errors.js"
import type { NewFile } from "./cert-files.js"
import { isLikeNew, issue, makeAuthority, namesOf, newKey, type Signer, type Statement } from "./x509.js"

/** A certificate that is to be made, or was there. */
export interface Made {
  readonly cert: string
  readonly key: string
  readonly until: Date
  /** it ends before what was asked for, because its authority does */
  readonly isCut: boolean
  /** until when the one was valid that is replaced */
  readonly before: Date | undefined
  /** its key was there before, without a certificate */
  readonly isTakenUp: boolean
}

/** What to make. */
export interface Request extends Statement {
  /** of the files, without ending */
  readonly file: string
}

interface Present {
  readonly cert: X509Certificate | undefined
  readonly key: KeyObject | undefined
}

/** A folder with an authority and what it has signed: NAME.crt and NAME.key of each. Looks at it, and changes nothing. */
export class CertFolder {
  private readonly made: NewFile[] = []

  private constructor(
    private readonly folder: string,
    private readonly signer: Signer,
    readonly authority: Made & { readonly isNew: boolean },
  ) {}

  /** Opens the folder; where it has no authority, makes one that is called `name`. Throws `tls-unusable` for an authority that cannot sign. */
  static async open(folder: string, name: string, until: Date): Promise<CertFolder> {
    const files = filesOf(folder, "ca")
    const text = read(files.cert)
    const found = readKey(files)
    if (text === undefined && found && !isLikeNew(found)) throw stray(files)
    const isNew = text === undefined
    if (!isNew && !found) throw unusable(`the authority ${quoted(files.cert)} is there without its key ${quoted(files.key)}`, OTHER_FOLDER)
    const key = found ?? newKey()
    const signer = signerOf(files, text ?? (await makeAuthority(key, name, until)), key)
    const made = { ...files, until: new Date(signer.cert.validTo), isCut: false, before: undefined, isTakenUp: isNew && !!found, isNew }
    const opened = new CertFolder(folder, signer, made)
    if (isNew) opened.add(files, signer.cert.toString(), found ? undefined : key)
    return opened
  }

  /** What is to be written, in this order: a key before its certificate, so that no certificate is ever without its key. */
  get files(): readonly NewFile[] {
    return this.made
  }

  filesOf(file: string): Files {
    return filesOf(this.folder, file)
  }

  /** The names in the server's certificate that is there; undefined: there is none. Throws `tls-unusable` when it is not of this authority. */
  namesOf(file: string): string[] | undefined {
    const { cert } = this.find(file)
    return cert && namesOf(cert)
  }

  /** Whether there is a certificate with its key. Throws `tls-unusable` as {@link namesOf}. */
  isWhole(file: string): boolean {
    const { cert, key } = this.find(file)
    return cert !== undefined && key !== undefined && cert.checkPrivateKey(key)
  }

  /**
   * Makes a certificate instead of one of this authority that is there, and its key where there is none. It ends with the authority
   * at the latest. Throws `tls-unusable` where a file is another one's: it stays.
   */
  async make({ file, until, ...rest }: Request): Promise<Made> {
    const found = this.find(file)
    const key = found.key ?? newKey()
    const isCut = until > this.authority.until
    const end = isCut ? this.authority.until : until
    const cert = await issue(this.signer, key, { ...rest, until: end })
    if (cert === undefined) throw unusable(`the key ${quoted(this.authority.key)} is neither RSA nor on a curve of NIST`, OTHER_FOLDER)
    const files = filesOf(this.folder, file)
    this.add(files, cert, found.key ? undefined : key)
    const before = found.cert && new Date(found.cert.validTo)
    return { ...files, until: end, isCut, before, isTakenUp: !found.cert && !!found.key }
  }

  /** @param key undefined: the one that is there stays */
  private add(files: Files, cert: string, key: KeyObject | undefined): void {
    if (key) this.made.push({ path: files.key, content: key.export({ type: "pkcs8", format: "pem" }).toString(), mode: 0o600 })
    this.made.push({ path: files.cert, content: cert, mode: 0o644 })
  }

  private find(file: string): Present {
    const files = filesOf(this.folder, file)
    const text = read(files.cert)
    const key = readKey(files)
    if (text === undefined) {
      if (key && !isLikeNew(key)) throw stray(files)
      return { cert: undefined, key }
    }
    const cert = parsed(files.cert, "certificate", () => new X509Certificate(text))
    if (cert.checkIssued(this.signer.cert) && cert.verify(this.signer.cert.publicKey)) return { cert, key }
    throw unusable(`the certificate ${quoted(files.cert)} is not of the authority ${quoted(this.authority.cert)}, and stays`, OTHER_FOLDER)
  }
}

const OTHER_FOLDER = "give --dir another folder, or move it away"

interface Files {
  readonly cert: string
  readonly key: string
}

function filesOf(folder: string, name: string): Files {
  return { cert: join(folder, `${name}.crt`), key: join(folder, `${name}.key`) }
}

function signerOf(files: Files, text: string, key: KeyObject): Signer {
  const cert = parsed(files.cert, "certificate", () => new X509Certificate(text))
  if (!cert.ca) throw unusable(`the certificate ${quoted(files.cert)} is not that of an authority`, OTHER_FOLDER)
  if (!cert.checkPrivateKey(key))
    throw unusable(`the key ${quoted(files.key)} does not belong to the certificate ${quoted(files.cert)}`, OTHER_FOLDER)
  if (new Date(cert.validTo) <= new Date())
    throw unusable(`the authority ${quoted(files.cert)} has ended, ${cert.validTo}`, `${OTHER_FOLDER}; each client needs the new one then`)
  return { cert, key }
}

/** Undefined: there is none. */
function read(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8")
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined
    throw unusable(`cannot read ${quoted(file)}: ${messageOf(error)}`, undefined, error)
  }
}

/** Undefined: there is none. */
function readKey({ key }: Files): KeyObject | undefined {
  const text = read(key)
  return text === undefined ? undefined : parsed(key, "private key without a password", () => createPrivateKey(text))
}

function parsed<T>(file: string, what: string, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    throw unusable(`${quoted(file)} has no ${what} in PEM`, undefined, error)
  }
}

function stray({ cert, key }: Files): BrokerError {
  return unusable(`there is ${quoted(key)} without ${quoted(cert)}, and it stays`, OTHER_FOLDER)
}

function unusable(message: string, hint?: string, cause?: unknown): BrokerError {
  return new BrokerError("tls-unusable", message, { ...(hint === undefined ? {} : { hint }), cause })
}
