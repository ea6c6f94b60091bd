import { BSON } from "mongodb"

const HEADER_BYTES = 16
/** of messages that have a command, and of answers to them */
const OP_MSG = 2013
const MORE_TO_COME = 2
/** where the first section begins, behind the flags */
const SECTION_AT = 20

/** Cuts what comes from one side of a connection to a MongoDB server into its messages. */
export class MongoMessages {
  private rest: Buffer = Buffer.alloc(0)

  take(bytes: Buffer): Buffer[] {
    let rest = Buffer.concat([this.rest, bytes])
    const whole: Buffer[] = []
    while (rest.length >= HEADER_BYTES && rest.length >= rest.readInt32LE(0)) {
      whole.push(rest.subarray(0, rest.readInt32LE(0)))
      rest = rest.subarray(rest.readInt32LE(0))
    }
    this.rest = rest
    return whole
  }
}

/** By which its answer is known. */
export function requestOf(message: Buffer): number {
  return message.readInt32LE(4)
}

/** Whether it is answered: of an OP_MSG, unless a flag says that more comes. */
export function wantsAnswer(message: Buffer): boolean {
  return message.readInt32LE(12) !== OP_MSG || (message.readUInt32LE(HEADER_BYTES) & MORE_TO_COME) === 0
}

/** Which request it answers. */
export function answeredBy(message: Buffer): number {
  return message.readInt32LE(8)
}

export interface MongoCommand {
  /** `insert`, `update` */
  name: string
  collection: string
  /** of a write: the key of its first document, or the condition on it */
  key: unknown
}

/** The command that a message has; undefined: it is none on a collection. */
export function commandOf(message: Buffer): MongoCommand | undefined {
  if (message.readInt32LE(12) !== OP_MSG || message[SECTION_AT] !== 0) return undefined
  const body = BSON.deserialize(message.subarray(SECTION_AT + 1, SECTION_AT + 1 + message.readInt32LE(SECTION_AT + 1)))
  const [name, collection] = Object.entries(body)[0] ?? []
  if (name === undefined || typeof collection !== "string") return undefined
  const { documents, updates, deletes, query } = body
  const first = documents?.[0] ?? (updates ?? deletes)?.[0]?.q ?? query
  return { name, collection, key: first?._id }
}
