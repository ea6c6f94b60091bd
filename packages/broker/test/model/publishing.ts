import type { Actor } from "./actor.js"
import { nothing, type Attempt } from "./attempt.js"
import type { Model, ModelMessage } from "./plain-model.js"
import type { Move } from "./possibilities.js"
import type { ClientName } from "./steps.js"

/** A message at QoS 2 that a client has sent and not seen released. */
interface Begun extends ModelMessage {
  packetId: number
  /** PUBREC came */
  received: boolean
  /** PUBREL left: it must not be sent again [MQTT-4.3.3-6] */
  releasing: boolean
}

const FIRST_IDENTIFIER = 30_001

/** What a client publishes, and what of that it remembers from one connection to the next. */
export class Publishing {
  private begun: Begun[] = []

  constructor(
    private readonly name: ClientName,
    private readonly prefix: string,
    private readonly attempt: Attempt,
  ) {}

  /** The session is a new one: nothing is begun in it. */
  forget(): void {
    this.begun = []
  }

  /** Publishes and takes every exchange to its end. `stored`: waits until what is not acknowledged is in the store. */
  async publish(actor: Actor, messages: readonly ModelMessage[], stored: () => Promise<void>): Promise<void> {
    const [first] = messages
    if (!first) return
    const { qos, retain } = first
    if (qos === 2) {
      await this.begin(actor, messages)
      return this.release(actor)
    }
    let acknowledged = 0
    const payloads = messages.map(({ n }) => `${n}`)
    await this.attempt(
      async () => {
        await actor.publish({ topic: this.prefix + first.topic, qos, retain }, payloads, () => acknowledged++)
        if (qos === 0) await stored()
      },
      () => firstOf(messages, acknowledged, (model, message) => model.publish(message)),
    )
  }

  /** PUBLISH at QoS 2, up to PUBREC. */
  async begin(actor: Actor, messages: readonly ModelMessage[]): Promise<void> {
    const begun = messages.map((message): Begun => {
      const one = { ...message, packetId: this.freeIdentifier(), received: false, releasing: false }
      this.begun.push(one)
      return one
    })
    return this.send(actor, begun)
  }

  /** Sends what was begun again, with DUP. */
  async resend(actor: Actor): Promise<void> {
    for (const one of this.begun) if (!one.releasing) await this.send(actor, [one], true)
  }

  /** PUBREL for what was begun and received, up to PUBCOMP. */
  async release(actor: Actor): Promise<void> {
    for (const one of this.begun.filter(({ received }) => received)) {
      one.releasing = true
      await this.attempt(
        () => actor.release(one.packetId),
        () => [nothing, (model) => model.release(this.name, one.packetId)],
      )
      this.begun = this.begun.filter((other) => other !== one)
    }
  }

  /** The lowest, so that each is used again soon. */
  private freeIdentifier(): number {
    let packetId = FIRST_IDENTIFIER
    while (this.begun.some((one) => one.packetId === packetId)) packetId++
    return packetId
  }

  private async send(actor: Actor, begun: readonly Begun[], dup = false): Promise<void> {
    let received = 0
    const packets = begun.map((one) => ({ ...one, topic: this.prefix + one.topic, payload: `${one.n}` }))
    await this.attempt(
      () => actor.begin(packets, dup, () => received++),
      () => firstOf(begun, received, (model, one) => model.begin(this.name, one.packetId, one)),
    ).finally(() => {
      for (const one of begun.slice(0, received)) one.received = true
    })
  }
}

/** What may have been done of a list of which the first `least` certainly are; everything comes last. */
function firstOf<T>(items: readonly T[], least: number, move: (model: Model, item: T) => void): Move[] {
  return Array.from({ length: items.length - least + 1 }, (_, more): Move => {
    const done = items.slice(0, least + more)
    return (model) => {
      for (const item of done) move(model, item)
    }
  })
}
