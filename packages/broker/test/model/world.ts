import { randomId, waitFor, type TestBroker } from "@mqtt-trio/common/testing"
import { pubcomp } from "../support/messages.js"
import { properties, sessionExpiry, word } from "../support/wire.js"
import { Actor } from "./actor.js"
import { compare, complete, describeExpected, describeIncoming } from "./compare.js"
import { Model, type Entry, type ModelSession } from "./plain-model.js"
import { describeStep, type ClientName, type Step, type WillOptions } from "./steps.js"

/** MQTT version and Receive Maximum of the clients; 3.1.1 has the broker's --max-inflight of 100. */
const CLIENTS: Record<ClientName, { version: 4 | 5; window: number }> = {
  A: { version: 5, window: 1000 },
  B: { version: 4, window: 100 },
  C: { version: 5, window: 2 },
}
const FIRST_BEGUN = 30_001

interface Begun {
  topic: string
  payload: string
  packetId: number
}

/** The real broker and the model of it, side by side: each step is done in both, then they are compared. */
export class World {
  readonly history: string[] = []
  private readonly prefix = `${randomId()}/`
  private readonly model = new Model()
  private readonly actors = new Map<ClientName, Actor>()
  private readonly begun = new Map<ClientName, Begun[]>()
  private observer: Actor | undefined
  private nextBegun = FIRST_BEGUN
  private armed = 0

  constructor(private readonly broker: TestBroker) {}

  async run(steps: readonly Step[]): Promise<void> {
    await this.observe()
    for (const step of steps) {
      this.history.push(describeStep(step))
      await this.take(step)
      await this.check()
    }
    await this.drain()
  }

  /** Removes the sessions. */
  async end(): Promise<void> {
    for (const name of this.actors.keys()) await (await Actor.connect(this.broker.port, 4, { clientId: this.id(name) })).disconnect()
    await this.observer?.disconnect()
  }

  private async take(step: Step): Promise<void> {
    if (step.do === "connect") return this.connect(step.client, step)
    if (step.do === "cut" || step.do === "disconnect") return this.leave(step.client, step.do === "cut")
    if (step.do === "crash") return this.crash()
    return this.act(step, await this.actor(step.client))
  }

  private async act(step: Exclude<Step, { do: "connect" | "cut" | "disconnect" | "crash" }>, actor: Actor): Promise<void> {
    const { model, prefix } = this
    const session = this.session(step.client)
    switch (step.do) {
      case "subscribe":
        model.subscribe(session, step.filter, step.qos)
        return actor.subscribe(`${prefix}${step.filter}`, step.qos)
      case "unsubscribe":
        session.unsubscribe(step.filter)
        return actor.unsubscribe(`${prefix}${step.filter}`)
      case "publish": {
        const numbers = Array.from({ length: step.count }, () => model.number())
        for (const n of numbers) model.publish({ ...step, n })
        return actor.publish(`${prefix}${step.topic}`, step.qos, { payloads: numbers.map(String), retain: step.retain })
      }
      case "clear":
        model.clear(step.topic)
        return actor.publish(`${prefix}${step.topic}`, 0, { payloads: [""], retain: true })
      case "begin":
        return this.begin(step.client, step.topic, actor)
      case "resend":
        for (const begun of this.open(step.client)) await actor.begin(begun.topic, { ...begun, dup: true })
        return
      case "release":
        await actor.release(this.open(step.client).map(({ packetId }) => packetId))
        this.begun.delete(step.client)
        return
      case "receive":
        for (const entry of sent(session)) if (entry.sentQos === 2) await receive(actor, entry)
        return
      case "acknowledge":
        return acknowledge(actor, session, step.which)
    }
  }

  private async connect(name: ClientName, options: { clean: boolean; lasting: boolean; will: WillOptions | null }): Promise<void> {
    const { version, window } = CLIENTS[name]
    const clean = version === 4 ? !options.lasting : options.clean
    const { present, fired } = this.model.connect(name, { clean, lasting: options.lasting, window })
    if (!present) this.begun.delete(name)
    const client = this.model.client(name)
    if (options.will) client.will = { ...options.will, n: this.model.number(), armed: ++this.armed }
    const old = this.actors.get(name)
    const actor = await Actor.connect(this.broker.port, version, {
      clientId: this.id(name),
      clean,
      properties: properties(sessionExpiry(options.lasting ? 1000 : 0), [0x21, ...word(window)]),
      ...(options.will &&
        client.will && { will: { ...options.will, topic: this.prefix + options.will.topic, payload: `${client.will.n}` } }),
    })
    this.actors.set(name, actor)
    if (actor.present !== present) throw new Error(`Session Present ${actor.present}, expected ${present}`)
    await old?.takenOver()
    await this.seen(fired)
  }

  private async leave(name: ClientName, withWill: boolean): Promise<void> {
    const actor = this.actors.get(name)
    if (!actor || !this.model.client(name).session?.connected) return
    const fired = this.model.leave(name, withWill)
    if (!this.model.client(name).session) this.begun.delete(name)
    await (withWill ? actor.cut() : actor.disconnect())
    await this.seen(fired)
  }

  private async crash(): Promise<void> {
    await this.broker.kill9()
    this.model.crash()
    for (const name of this.begun.keys()) if (!this.model.client(name).session) this.begun.delete(name)
    await this.broker.restart()
    await this.observe()
  }

  private async begin(name: ClientName, topic: string, actor: Actor): Promise<void> {
    const n = this.model.number()
    const begun = { topic: this.prefix + topic, payload: `${n}`, packetId: this.nextBegun++ }
    this.begun.set(name, [...this.open(name), begun])
    this.model.publish({ n, topic, qos: 2, retain: false })
    await actor.begin(begun.topic, { ...begun, dup: false })
  }

  private open(name: ClientName): Begun[] {
    return this.begun.get(name) ?? []
  }

  /** A client that has something to do connects first. */
  private async actor(name: ClientName): Promise<Actor> {
    if (!this.model.client(name).session?.connected) {
      await this.connect(name, { clean: false, lasting: true, will: null })
      await this.check()
    }
    const actor = this.actors.get(name)
    if (!actor) throw new Error(`${name} has no connection`)
    return actor
  }

  private session(name: ClientName): ModelSession {
    const { session } = this.model.client(name)
    if (!session) throw new Error(`${name} has no session`)
    return session
  }

  private id(name: ClientName): string {
    return `${this.prefix}${name}`
  }

  /** Sees all messages at QoS 0; its own retained messages make sure that the store has taken what came before. */
  private async observe(): Promise<void> {
    this.observer = await Actor.connect(this.broker.port, 4, { clientId: randomId() })
    await this.observer.subscribe(`${this.prefix}#`, 0)
  }

  private async seen(n: number | null): Promise<void> {
    if (n === null) return
    const came = (): boolean =>
      this.observer?.inbox.some((one) => one.kind === "publish" && one.message.payload.toString() === `${n}`) ?? false
    await waitFor(async () => (await this.observer?.ping(), came()), { what: `the Will ${n}`, timeoutMs: 3000 })
  }

  /** Waits for what the model expects, looks for what it does not. */
  private async check(): Promise<void> {
    const { observer } = this
    if (!observer) return
    // what waits for one commit may wake what waits for the next
    for (const _ of [1, 2]) await observer.publish("$model/barrier", 1, { payloads: ["x"], retain: true })
    observer.inbox.length = 0
    for (const [name, actor] of this.actors) {
      const { session } = this.model.client(name)
      if (session?.connected) await this.checkOne(name, actor, session)
    }
  }

  private async checkOne(name: ClientName, actor: Actor, session: ModelSession): Promise<void> {
    const look = async (): Promise<boolean> => {
      await actor.ping()
      for (const one of actor.inbox) this.history.push(`    ${name} gets ${describeIncoming(one)}`)
      compare(actor, session, this.prefix)
      return complete(session)
    }
    try {
      await waitFor(look, { what: "all messages", timeoutMs: 3000 })
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      throw new Error(`${name}: ${message}; expected next: ${describeExpected(session)}`, { cause: error })
    }
    session.plain.length = 0
  }

  /** Everybody comes back and acknowledges until nothing is left: what was queued is there, and nothing else. */
  private async drain(): Promise<void> {
    for (const [name, client] of this.model.clients) {
      if (!client.session) continue
      this.history.push(`${name} takes all that is left`)
      const actor = await this.actor(name)
      while (client.session.queue.length > 0) {
        await acknowledge(actor, client.session, "all")
        await this.check()
      }
    }
  }
}

function sent(session: ModelSession): Entry[] {
  return session.queue.filter(({ phase }) => phase === "sent")
}

async function receive(actor: Actor, entry: Entry): Promise<void> {
  await actor.receive(entry.packetId)
  entry.phase = "released"
}

async function acknowledge(actor: Actor, session: ModelSession, which: "all" | "first" | "last"): Promise<void> {
  const open = session.queue.filter(({ phase }) => phase === "sent" || phase === "released")
  const chosen = which === "all" ? open : which === "first" ? open.slice(0, 1) : open.slice(-1)
  for (const entry of chosen) {
    if (entry.sentQos === 1) actor.puback(entry.packetId)
    else {
      if (entry.phase === "sent") await receive(actor, entry)
      actor.send(pubcomp(entry.packetId))
    }
    session.finish(entry)
  }
}
