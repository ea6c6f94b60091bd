import { jsonLine } from "@mqtt-trio/common"
import type { Delivery } from "../delivery/delivery.js"
import { inWords } from "../stores/errors.js"
import type { Store } from "../stores/store.js"
import type { AdminReply, AdminRequest, QueueRequest } from "./protocol.js"

/** Answers the requests of local tools. */
export async function* answer({ delivery, store }: { delivery: Delivery; store: Store }, line: string): AsyncGenerator<string> {
  const request = parse(line)
  // U+2028 and its like end a line for some readers
  if (request?.command === "backup") for (const reply of await backup(store, request.folder)) yield jsonLine(reply)
  else for await (const reply of replies(delivery, request)) yield jsonLine(reply)
}

async function backup(store: Store, folder: string): Promise<AdminReply[]> {
  try {
    await store.backup?.(folder)
    return [{ type: "backup" }, { type: "end" }]
  } catch (error) {
    return [{ type: "error", code: "store-unusable", message: `no copy can be made in ${JSON.stringify(folder)}: ${inWords(error)}` }]
  }
}

async function* replies(delivery: Delivery, request: QueueRequest | undefined): AsyncGenerator<AdminReply> {
  if (request) yield* queue(delivery, request)
  else yield { type: "error", code: "bad-request", message: "the request is not understood; use the mqtt-broker of the same version" }
}

function parse(request: string): AdminRequest | undefined {
  try {
    const value: unknown = JSON.parse(request)
    if (typeof value !== "object" || value === null || !("command" in value)) return undefined
    if (value.command === "backup" && "folder" in value && typeof value.folder === "string")
      return { command: "backup", folder: value.folder }
    if (value.command !== "queue" || !("clientId" in value) || typeof value.clientId !== "string") return undefined
    if (!("peek" in value) || typeof value.peek !== "number") return undefined
    return { command: "queue", clientId: value.clientId, peek: value.peek }
  } catch {
    return undefined
  }
}

async function* queue({ sessions, commits: { time } }: Delivery, request: QueueRequest): AsyncGenerator<AdminReply> {
  const session = sessions.get(request.clientId)
  if (!session) {
    yield { type: "error", code: "no-session", message: `no session with client identifier ${JSON.stringify(request.clientId)}` }
    return
  }
  const { disconnectedAt } = session
  yield {
    type: "session",
    clientId: session.clientId,
    connected: session.outlet !== undefined,
    disconnectedAt: disconnectedAt === null ? null : time.toWall(disconnectedAt).toISOString(),
    ...(await session.depth()),
    dropped: session.dropped,
  }
  let left = request.peek
  if (left > 0)
    for await (const message of session.peek()) {
      const remaining = message.expirySeconds - time.secondsSince(message.acceptedAt)
      yield {
        type: "record",
        record: {
          position: message.position,
          topic: message.topic,
          qos: message.qos,
          accepted: time.toWall(message.acceptedAt).toISOString(),
          inFlight: session.inFlight(message.position),
          expiresInSeconds: remaining === Infinity ? null : Math.max(0, remaining),
          payload: message.payload.toString(message.isText ? "utf8" : "base64"),
          payloadEncoding: message.isText ? "utf8" : "base64",
          payloadBytes: message.payload.length,
        },
      }
      if (--left === 0) break
    }
  yield { type: "end" }
}
