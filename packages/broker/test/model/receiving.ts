import { pubcomp } from "../support/messages.js"
import type { Publication } from "../support/read.js"
import type { Actor, Incoming, Open } from "./actor.js"
import { nothing, type Attempt } from "./attempt.js"
import * as compare from "./compare.js"
import type { Possibilities } from "./possibilities.js"
import type { ClientName } from "./steps.js"

/** What a client gets and acknowledges, and what of that it remembers from one connection to the next. */
export class Receiving {
  /** messages whose PUBACK left, as `number RETAIN` */
  private readonly acknowledged = new Set<string>()
  /** Packet Identifiers whose PUBREC left, and no PUBCOMP */
  private readonly received = new Set<number>()

  constructor(
    private readonly name: ClientName,
    private readonly prefix: string,
    private readonly possible: Possibilities,
    private readonly attempt: Attempt,
  ) {}

  /** What came goes to what the client has to acknowledge, or, when it did so before, is acknowledged again. */
  takes(actor: Actor, one: Incoming): void {
    if (one.kind === "pubrel") this.takesPubrel(actor, one.packetId)
    else this.takesMessage(actor, one.message)
  }

  private takesPubrel(actor: Actor, packetId: number): void {
    const { name } = this
    if (this.received.has(packetId)) {
      actor.open.push({ packetId, qos: 2, key: "", received: true })
      return this.possible.happened((model) => compare.released(model.session(name), packetId))
    }
    actor.send(pubcomp(packetId))
    this.possible.either([
      (model) => {
        compare.released(model.session(name), packetId)
        model.session(name).finish(packetId)
      },
      (model) => compare.releasedAgain(model.session(name), packetId),
    ])
  }

  private takesMessage(actor: Actor, message: Publication): void {
    const { name, prefix, possible } = this
    const { packetId, qos, dup } = message
    if (qos === 0) return possible.happened((model) => compare.plain(model.session(name), message, prefix))
    const key = `${message.payload.toString()} ${message.retain}`
    if (qos === 2 || !dup || !this.acknowledged.has(key)) {
      actor.open.push({ packetId, qos, key, received: false })
      return possible.happened((model) => compare.published(model.session(name), message, prefix))
    }
    actor.puback(packetId)
    possible.either([
      (model) => {
        compare.published(model.session(name), message, prefix)
        model.session(name).finish(packetId)
      },
      (model) => compare.publishedAgain(model.session(name), message, prefix),
    ])
  }

  /** PUBREC for all that came at QoS 2. */
  async receiveAll(actor: Actor): Promise<void> {
    for (const open of actor.open) if (open.qos === 2 && !open.received) await this.receive(actor, open)
  }

  private async receive(actor: Actor, open: Open): Promise<void> {
    this.received.add(open.packetId)
    await this.attempt(
      () => actor.receive(open.packetId),
      () => [nothing, (model) => model.session(this.name).received(open.packetId)],
    )
    open.received = true
  }

  async acknowledge(actor: Actor, which: "all" | "first" | "last"): Promise<void> {
    const chosen = which === "all" ? [...actor.open] : which === "first" ? actor.open.slice(0, 1) : actor.open.slice(-1)
    for (const one of chosen) {
      if (one.qos === 1) {
        actor.puback(one.packetId)
        this.acknowledged.add(one.key)
      } else {
        if (!one.received) await this.receive(actor, one)
        actor.send(pubcomp(one.packetId))
        this.received.delete(one.packetId)
      }
      actor.open.splice(actor.open.indexOf(one), 1)
      this.possible.happened((model) => model.session(this.name).finish(one.packetId))
    }
  }
}
