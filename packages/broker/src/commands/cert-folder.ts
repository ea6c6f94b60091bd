import { createPrivateKey, X509Certificate } from "node:crypto"
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { messageOf, outputError, quoted, systemCode } from "@mqtt-trio/common"
import { BrokerError } from "../errors.js"
import { issue, type KeyPair, makeAuthority, namesOf, type Purpose, type Signer } from "./x509.js"

/** A certificate that was made, or was there. */
export interface Made {
  readonly cert: string
  readonly key: string
  readonly until: Date
  /** until when the one was valid that is replaced */
  readonly before: Date | undefined
}

/** What to make. */
export interface Request {
  /** of the files, without ending */
  readonly file: string
  /** Common Name */
  readonly name: string
  readonly purpose: Purpose
  readonly until: Date
}

/** A folder with an authority and what it has signed: NAME.crt and NAME.key of each. */
export class CertFolder {
  private constructor(
    private readonly folder: string,
    private readonly signer: Signer,
    readonly authority: Made & { readonly isNew: boolean },
  ) {}

  /**
   * Opens the folder; where it has no authority, makes one that is called `name`. Throws `tls-unusable` for an authority
   * that cannot sign, and `output-failed` when a file cannot be written.
   */
  static async open(folder: string, name: string, until: Date): Promise<CertFolder> {
    const files = filesOf(folder, "ca")
    const [cert, key] = [read(files.cert), read(files.key)]
    if (cert === undefined && key !== undefined) throw stray(files)
    const isNew = cert === undefined
    const pair = isNew ? await makeAuthority(name, until) : { cert, key }
    if (pair.key === undefined)
      throw unusable(`the authority ${quoted(files.cert)} is there without its key ${quoted(files.key)}`, OTHER_FOLDER)
    const signer = signerOf(files, { cert: pair.cert, key: pair.key })
    if (isNew) write(folder, files, { cert: pair.cert, key: pair.key })
    const made = { ...files, until: new Date(signer.cert.validTo), before: undefined, isNew }
    return new CertFolder(folder, signer, made)
  }

  filesOf(file: string): Files {
    return filesOf(this.folder, file)
  }

  /** The names in the server's certificate that is there; undefined: there is none. Throws `tls-unusable` when it is not of this authority. */
  namesOf(file: string): string[] | undefined {
    const found = this.find(file)
    return found && namesOf(found)
  }

  /**
   * Makes a key and its certificate, instead of one of this authority that is there. It ends with the authority at the
   * latest. Throws `tls-unusable` where a file is another one's: it stays.
   */
  async make({ file, name, purpose, until }: Request): Promise<Made> {
    const before = this.find(file)
    const end = until < this.authority.until ? until : this.authority.until
    const pair = await issue(this.signer, name, purpose, end)
    if (!pair) throw unusable(`the key ${quoted(this.authority.key)} is neither RSA nor on a curve of NIST`, OTHER_FOLDER)
    const files = filesOf(this.folder, file)
    write(this.folder, files, pair)
    return { ...files, until: end, before: before && new Date(before.validTo) }
  }

  private find(file: string): X509Certificate | undefined {
    const files = filesOf(this.folder, file)
    const text = read(files.cert)
    if (text === undefined) {
      if (read(files.key) !== undefined) throw stray(files)
      return undefined
    }
    const found = parsed(files.cert, "certificate", () => new X509Certificate(text))
    if (found.checkIssued(this.signer.cert) && found.verify(this.signer.cert.publicKey)) return found
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

function signerOf(files: Files, pair: KeyPair): Signer {
  const cert = parsed(files.cert, "certificate", () => new X509Certificate(pair.cert))
  const key = parsed(files.key, "private key without a password", () => createPrivateKey(pair.key))
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

/** Each file is there as a whole or not at all, and the key is its owner's. */
function write(folder: string, files: Files, pair: KeyPair): void {
  try {
    // not those above it: the system's own way to make them never ends in a folder that refuses new entries, such as /proc
    if (!existsSync(folder)) mkdirSync(folder)
    replace(files.cert, pair.cert, 0o644)
    replace(files.key, pair.key, 0o600)
  } catch (error) {
    throw outputError(error)
  }
}

function replace(file: string, text: string, mode: number): void {
  const temporary = `${file}.${process.pid}.new`
  try {
    writeFileSync(temporary, text, { mode, flag: "wx", flush: true })
    renameSync(temporary, file)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
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
