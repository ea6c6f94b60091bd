import { connect, createServer, type Server, type Socket } from "node:net"
import { onCleanUp } from "@mqtt-trio/testing"
import { answeredBy, commandOf, MongoMessages, requestOf, type MongoCommand, wantsAnswer } from "./mongo-messages.js"
import type { Death, DeathPoint } from "./mortal-store.js"

/** A commit, a write of a fold or of who takes over, the removal of what is folded from the journal. */
type Kind = "commit" | "fold" | "removal"

/** When what was on its way arrives: the next owner closes the journal, is ready, or has folded for a while. */
export type Moment = "sealing" | "serving" | "folded"

/** The broker dies with such a write on its way, which is late, or when the server has answered and the broker has not heard it. */
const POINTS: Record<DeathPoint, { kind: Kind; late?: Moment }> = {
  before: { kind: "commit", late: "serving" },
  torn: { kind: "commit", late: "sealing" },
  after: { kind: "commit" },
  "fold-before": { kind: "fold", late: "folded" },
  "fold-after": { kind: "fold" },
  "switch-before": { kind: "removal", late: "folded" },
  "switch-after": { kind: "removal" },
}

/** After so many folds what comes late is no more what was folded last. */
const MANY_FOLDS = 3

const WRITES = new Set(["insert", "update", "delete", "findAndModify"])

function kindOf({ name, collection, key }: MongoCommand): Kind | undefined {
  if (!WRITES.has(name) || key === "lease") return undefined
  if (collection !== "journal") return "fold"
  return name === "insert" ? "commit" : "removal"
}

/** One connection of a broker. */
class Link {
  /** what the broker sent, and has not been passed on */
  held: Buffer[] = []
  readonly requests = new MongoMessages()
  readonly answers = new MongoMessages()
  /** one message behind the other */
  line: Promise<void> = Promise.resolve()
  /** told when the server has answered a request */
  private readonly answered = new Map<number, () => void>()

  constructor(
    readonly broker: Socket,
    readonly server: Socket,
  ) {
    for (const socket of [broker, server]) socket.on("error", () => undefined)
    server.on("close", () => {
      broker.destroy()
      for (const done of this.answered.values()) done()
    })
  }

  /** True: it answers something that came late. */
  hears(answer: Buffer): boolean {
    const done = this.answered.get(answeredBy(answer))
    done?.()
    return done !== undefined
  }

  /** What was held arrives; resolves when the server has answered it. */
  async arrive(): Promise<void> {
    for (const message of this.held.splice(0)) {
      if (this.server.destroyed) return
      const done = new Promise<void>((resolve) => {
        this.answered.set(requestOf(message), resolve)
      })
      this.server.write(message)
      if (wantsAnswer(message)) await done
    }
    this.server.destroy()
  }
}

/**
 * The way from a broker to its database, on which it dies: from that moment on nothing passes either way, and what it had sent
 * is late, or lost.
 */
export class MongoWay {
  private readonly links = new Set<Link>()
  private death: (Death & { kill: () => void; late: Moment | undefined }) | undefined
  /** the answer at which the broker dies */
  private last: { link: Link; request: number } | undefined
  private isClosed = false
  /** when what is held arrives */
  private moment: Moment = "serving"
  private folds = 0

  private constructor(private readonly listener: Server) {}

  /** To a port of 127.0.0.1. */
  static async to(target: number): Promise<MongoWay> {
    const listener = createServer((broker) => way.join(new Link(broker, connect(target, "127.0.0.1"))))
    const way = new MongoWay(listener)
    onCleanUp(() => {
      for (const { broker, server } of way.links) for (const socket of [broker, server]) socket.destroy()
      listener.close()
    })
    await new Promise<void>((resolve) => {
      listener.listen(0, "127.0.0.1", resolve)
    })
    return way
  }

  get port(): number {
    const address = this.listener.address()
    return typeof address === "object" && address !== null ? address.port : 0
  }

  /** `late`: at another moment than else. */
  arm(death: Death, kill: () => void, late = POINTS[death.at].late): void {
    this.death = { ...death, kill, late }
  }

  disarm(): void {
    this.death = undefined
    this.last = undefined
  }

  /** For the next broker everything passes. */
  open(): void {
    this.isClosed = false
  }

  /** What is on its way never arrives. */
  lose(): void {
    for (const { server } of this.links) server.destroy()
  }

  /** What is on its way until then arrives; resolves when the server has answered. */
  async reached(moment: Moment): Promise<void> {
    if (moment !== this.moment || this.isClosed) return
    await Promise.all([...this.links].map(async (link) => link.held.length > 0 && (await link.arrive())))
  }

  private join(link: Link): void {
    const { broker, server, requests, answers } = link
    this.links.add(link)
    broker.on("data", (bytes: Buffer) => {
      for (const message of requests.take(bytes)) link.line = link.line.then(() => this.request(link, message))
    })
    broker.on("close", () => {
      link.line = link.line.then(() => {
        if (link.held.length === 0) server.destroy()
      })
    })
    server.on("data", (bytes: Buffer) => {
      for (const message of answers.take(bytes)) if (!link.hears(message)) this.answer(link, message)
    })
    server.on("close", () => this.links.delete(link))
  }

  private async request(link: Link, message: Buffer): Promise<void> {
    const command = commandOf(message)
    const kind = command && kindOf(command)
    if (kind === "commit") await this.reached("sealing")
    // who takes over removes what owners before left, without naming it
    if (kind === "removal" && command?.key !== undefined && ++this.folds >= MANY_FOLDS) await this.reached("folded")
    if (!this.isClosed && kind && this.isDeadly(kind)) this.strike(link, message)
    if (this.isClosed) link.held.push(message)
    else link.server.write(message)
  }

  private isDeadly(kind: Kind): boolean {
    if (!this.death || this.last || POINTS[this.death.at].kind !== kind) return false
    return --this.death.nth <= 0
  }

  private strike(link: Link, message: Buffer): void {
    if (!this.death) return
    const { late } = this.death
    this.moment = late ?? "serving"
    this.folds = 0
    if (late === undefined) this.last = { link, request: requestOf(message) }
    else this.kill()
  }

  private kill(): void {
    this.isClosed = true
    this.death?.kill()
    this.disarm()
  }

  private answer(link: Link, message: Buffer): void {
    if (this.last?.link === link && answeredBy(message) === this.last.request) this.kill()
    if (!this.isClosed) link.broker.write(message)
  }
}
