import { rmSync, writeFileSync } from "node:fs"
import { setTimeout as delay } from "node:timers/promises"
import { randomId, waitFor, type TestBroker } from "@mqtt-trio/common/testing"
import { pubcomp } from "../support/messages.js"
import { properties, sessionExpiry, word } from "../support/wire.js"
import { Actor, type Incoming, type Open } from "./actor.js"
import * as compare from "./compare.js"
import type { Model, ModelMessage, ModelWill } from "./plain-model.js"
import { Possibilities, type Move } from "./possibilities.js"
import { describeStep, type ClientName, type Death, type QoS, type Step, type WillOptions } from "./steps.js"

/** MQTT version and Receive Maximum of the clients; 3.1.1 has the broker's --max-inflight of 100. */
const CLIENTS: Record<ClientName, { version: 4 | 5; window: number }> = {
  A: { version: 5, window: 1000 },
  B: { version: 4, window: 100 },
  C: { version: 5, window: 2 },
}
const NAMES: ClientName[] = ["A", "B", "C"]
const FIRST_BEGUN = 30_001
/** How long a process that is dying may take to be gone. */
const DEATH_MS = 1000

type Of<Do extends Step["do"]> = Extract<Step, { do: Do }>

/** A message at QoS 2 that a client has sent and not seen released. */
interface Begun extends ModelMessage {
  packetId: number
  /** PUBREC came */
  received: boolean
  /** PUBREL left: it must not be sent again [MQTT-4.3.3-6] */
  releasing: boolean
}

/** What a client remembers from one connection to the next. */
interface Memory {
  begun: Begun[]
  /** messages whose PUBACK left, as `number RETAIN` */
  acknowledged: Set<string>
  /** Packet Identifiers whose PUBREC left, and no PUBCOMP */
  received: Set<number>
  /** of its connection */
  will: ModelWill | null
}

/** The real broker, and the file that tells it where to die; null where that is not to be had. */
export interface Mortal {
  broker: TestBroker
  dieFile: string | null
}

/** The real broker and the model of it, side by side: each step is done in both, then they are compared. */
export class World {
  readonly history: string[] = []
  /** times that the broker died in the middle of something */
  deaths = 0
  private readonly broker: TestBroker
  private readonly prefix = `${randomId()}/`
  private readonly possible = new Possibilities()
  private readonly actors = new Map<ClientName, Actor>()
  private readonly memories = { A: newMemory(), B: newMemory(), C: newMemory() }
  private observer: Actor | undefined
  private nextBegun = FIRST_BEGUN
  private nextNumber = 1

  constructor(private readonly mortal: Mortal) {
    this.broker = mortal.broker
  }

  async run(steps: readonly Step[]): Promise<void> {
    await this.observe()
    for (const step of steps) {
      this.history.push(describeStep(step))
      if (step.death) this.arm(step.death)
      await this.outlive(async () => {
        await this.take(step)
        await this.check()
      })
      this.disarm()
    }
    await this.drain()
  }

  /** Removes the sessions. */
  async end(): Promise<void> {
    this.disarm()
    for (const name of NAMES) await (await Actor.connect(this.broker.port, 4, { clientId: this.id(name) })).disconnect()
    await this.observer?.disconnect()
  }

  private arm({ when, commit }: Death): void {
    if (this.mortal.dieFile !== null) writeFileSync(this.mortal.dieFile, `${when} ${commit}\n`)
  }

  private disarm(): void {
    if (this.mortal.dieFile !== null) rmSync(this.mortal.dieFile, { force: true })
  }

  /** Does it; when the broker dies meanwhile, it starts again, and what was being done is given up. */
  private async outlive(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      if (!(await this.died())) throw error
      this.deaths++
      this.history.push("    the broker died")
      await this.crash()
      await this.check()
    }
  }

  private async died(): Promise<boolean> {
    const end = await Promise.race([this.broker.ended, delay(DEATH_MS, null)])
    if (end && end.signal !== "SIGKILL") throw new Error(`the broker ended with ${end.code ?? end.signal}: ${this.broker.stderr}`)
    return end !== null
  }

  /** Does something that the models know as `moves`, the last of them when all of it was done; when the broker dies in it, any. */
  private async attempt(work: () => Promise<void>, moves: () => readonly Move[]): Promise<void> {
    try {
      await work()
    } catch (error) {
      if (await this.died()) this.possible.either(moves())
      throw error
    }
    this.possible.happened(moves().at(-1) ?? nothing)
  }

  private async take(step: Step): Promise<void> {
    if (step.do === "connect") return this.connect(step.client, step)
    if (step.do === "cut" || step.do === "disconnect") return this.leave(step.client, step.do === "cut")
    if (step.do === "crash") return this.crash()
    const name = step.client
    const actor = await this.actor(name)
    switch (step.do) {
      case "subscribe":
        return this.attempt(
          () => actor.subscribe(`${this.prefix}${step.filter}`, step.qos),
          () => [nothing, (model) => model.subscribe(name, step.filter, step.qos)],
        )
      case "unsubscribe":
        return this.attempt(
          () => actor.unsubscribe(`${this.prefix}${step.filter}`),
          () => [nothing, (model) => model.session(name).unsubscribe(step.filter)],
        )
      case "publish":
        return this.publish(step, actor)
      case "clear":
        return this.attempt(
          async () => {
            await actor.publish({ topic: `${this.prefix}${step.topic}`, qos: 0, retain: true }, [""])
            await this.barrier()
          },
          () => [nothing, (model) => model.clear(step.topic)],
        )
      case "begin":
        return this.begin(name, actor, this.messages({ topic: step.topic, qos: 2, retain: false, count: 1 }))
      case "resend":
        return this.resend(name, actor)
      case "release":
        return this.release(name, actor)
      case "receive":
        for (const open of actor.open) if (open.qos === 2 && !open.received) await this.receive(name, actor, open)
        return
      case "acknowledge":
        return this.acknowledge(name, actor, step.which)
    }
  }

  private messages({ topic, qos, retain, count }: { topic: string; qos: QoS; retain: boolean; count: number }): ModelMessage[] {
    return Array.from({ length: count }, () => ({ n: this.nextNumber++, topic, qos, retain }))
  }

  private async publish(step: Of<"publish">, actor: Actor): Promise<void> {
    const { client: name, topic, qos, retain } = step
    const messages = this.messages(step)
    if (qos === 2) {
      await this.begin(name, actor, messages)
      return this.release(name, actor)
    }
    let acknowledged = 0
    const payloads = messages.map(({ n }) => `${n}`)
    await this.attempt(
      async () => {
        await actor.publish({ topic: this.prefix + topic, qos, retain }, payloads, () => acknowledged++)
        if (qos === 0) await this.barrier()
      },
      () => firstOf(messages, acknowledged, (model, message) => model.publish(message)),
    )
  }

  private async begin(name: ClientName, actor: Actor, messages: ModelMessage[]): Promise<void> {
    const begun = messages.map((message) => ({ ...message, packetId: this.nextBegun++, received: false, releasing: false }))
    this.memories[name].begun.push(...begun)
    return this.send(name, actor, begun)
  }

  private async resend(name: ClientName, actor: Actor): Promise<void> {
    for (const one of this.memories[name].begun) if (!one.releasing) await this.send(name, actor, [one], true)
  }

  private async send(name: ClientName, actor: Actor, begun: Begun[], dup = false): Promise<void> {
    let received = 0
    const packets = begun.map((one) => ({ ...one, topic: this.prefix + one.topic, payload: `${one.n}` }))
    await this.attempt(
      () => actor.begin(packets, dup, () => received++),
      () => firstOf(begun, received, (model, one) => model.begin(name, one.packetId, one)),
    ).finally(() => {
      for (const one of begun.slice(0, received)) one.received = true
    })
  }

  private async release(name: ClientName, actor: Actor): Promise<void> {
    const memory = this.memories[name]
    for (const one of memory.begun.filter(({ received }) => received)) {
      one.releasing = true
      await this.attempt(
        () => actor.release(one.packetId),
        () => [nothing, (model) => model.release(name, one.packetId)],
      )
      memory.begun = memory.begun.filter((other) => other !== one)
    }
  }

  private async connect(name: ClientName, options: { clean: boolean; lasting: boolean; will: WillOptions | null }): Promise<void> {
    const { version, window } = CLIENTS[name]
    const memory = this.memories[name]
    const clean = version === 4 ? !options.lasting : options.clean
    const will = options.will && { ...options.will, n: this.nextNumber++ }
    const connect = { clean, lasting: options.lasting, window, will }
    const [old, fired] = [this.actors.get(name), memory.will]
    if (clean) memory.begun = []
    let actor: Actor | undefined
    const work = async (): Promise<void> => {
      actor = await Actor.connect(this.broker.port, version, {
        clientId: this.id(name),
        clean,
        properties: properties(sessionExpiry(options.lasting ? 1000 : 0), [0x21, ...word(window)]),
        ...(will && { will: { ...will, topic: this.prefix + will.topic, payload: `${will.n}` } }),
      })
      await old?.takenOver()
      if (old && fired) await this.seen(fired.n)
    }
    await this.attempt(work, () => {
      const present = actor?.present
      const connected = (model: Model, fires: boolean): void => {
        const expected = model.connect(name, connect, fires)
        if (present !== undefined && present !== expected) throw new Error(`Session Present ${present}, expected ${expected}`)
      }
      const moves: Move[] = present === undefined ? [nothing] : []
      if (fired) moves.push((model) => connected(model, false))
      return [...moves, (model) => connected(model, true)]
    })
    if (!actor) throw new Error(`${name} is not connected`)
    if (!actor.present) memory.begun = []
    memory.will = will
    this.actors.set(name, actor)
  }

  private async leave(name: ClientName, withWill: boolean): Promise<void> {
    const [actor, { will }] = [this.actors.get(name), this.memories[name]]
    if (!actor) return
    const work = async (): Promise<void> => {
      await (withWill ? actor.cut() : actor.disconnect())
      if (withWill && will) await this.seen(will.n)
      await this.barrier() // the connection may have ended because the broker died
    }
    await this.attempt(work, () => [nothing, (model) => model.leave(name, withWill)])
    this.actors.delete(name)
    this.memories[name].will = null
  }

  /** Kills the broker, if it is not dead, and starts it again. */
  private async crash(): Promise<void> {
    await this.broker.kill9()
    this.possible.happened((model) => model.crash())
    this.actors.clear()
    for (const name of NAMES) this.memories[name].will = null
    this.disarm()
    await this.broker.restart()
    await this.observe()
  }

  /** PUBREC. */
  private async receive(name: ClientName, actor: Actor, open: Open): Promise<void> {
    this.memories[name].received.add(open.packetId)
    await this.attempt(
      () => actor.receive(open.packetId),
      () => [nothing, (model) => model.session(name).received(open.packetId)],
    )
    open.received = true
  }

  private async acknowledge(name: ClientName, actor: Actor, which: "all" | "first" | "last"): Promise<void> {
    const memory = this.memories[name]
    const chosen = which === "all" ? [...actor.open] : which === "first" ? actor.open.slice(0, 1) : actor.open.slice(-1)
    for (const one of chosen) {
      if (one.qos === 1) {
        actor.puback(one.packetId)
        memory.acknowledged.add(one.key)
      } else {
        if (!one.received) await this.receive(name, actor, one)
        actor.send(pubcomp(one.packetId))
        memory.received.delete(one.packetId)
      }
      actor.open.splice(actor.open.indexOf(one), 1)
      this.possible.happened((model) => model.session(name).finish(one.packetId))
    }
  }

  /** A client that has something to do connects first. */
  private async actor(name: ClientName): Promise<Actor> {
    if (!this.actors.has(name)) {
      await this.connect(name, { clean: false, lasting: true, will: null })
      await this.check()
    }
    const actor = this.actors.get(name)
    if (!actor) throw new Error(`${name} has no connection`)
    return actor
  }

  private id(name: ClientName): string {
    return `${this.prefix}${name}`
  }

  /** Sees all messages at QoS 0; its own retained messages make sure that the store has taken what came before. */
  private async observe(): Promise<void> {
    this.observer = await Actor.connect(this.broker.port, 4, { clientId: randomId() })
    await this.observer.subscribe(`${this.prefix}#`, 0)
  }

  /** The Will was sent, and the store knows. */
  private async seen(n: number): Promise<void> {
    const came = (): boolean =>
      this.observer?.inbox.some((one) => one.kind === "publish" && one.message.payload.toString() === `${n}`) ?? false
    await waitFor(async () => (await this.observer?.ping(), came()), { what: `the Will ${n}`, timeoutMs: 3000 })
    await this.barrier()
  }

  /** What happened is in the store. Twice: what waits for one commit may wake what waits for the next. */
  private async barrier(): Promise<void> {
    for (const _ of [1, 2]) await this.observer?.publish({ topic: "$model/barrier", qos: 1, retain: true }, ["x"])
    if (this.observer) this.observer.inbox.length = 0
  }

  /** Waits for what one of the models expects, looks for what none does. */
  private async check(): Promise<void> {
    await this.barrier()
    try {
      await waitFor(() => this.look(), { what: "all messages", timeoutMs: 3000 })
      if (this.possible.count > 1) {
        await this.barrier()
        await this.look()
      }
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      const expected = [...this.actors.keys()].map((name) => {
        const { session } = this.possible.likeliest.client(name)
        return `${name}: ${session ? compare.describeExpected(session) : "no session"}`
      })
      throw new Error(`${message}; expected next: ${expected.join("; ")}; ${this.possible.count} models`, { cause: error })
    }
    this.possible.happened((model) => {
      for (const { session } of model.clients.values()) if (session) session.plain.length = 0
    })
  }

  private async look(): Promise<boolean> {
    for (const [name, actor] of this.actors) {
      await actor.ping()
      for (const one of actor.inbox.splice(0)) this.takes(name, actor, one)
    }
    return this.possible.some((model) => [...this.actors.keys()].every((name) => compare.complete(model.session(name))))
  }

  /** What came goes to what the client has to acknowledge, or, when it did so before, is acknowledged again. */
  private takes(name: ClientName, actor: Actor, one: Incoming): void {
    this.history.push(`    ${name} gets ${compare.describeIncoming(one)}`)
    const { possible, prefix } = this
    const { acknowledged, received } = this.memories[name]
    if (one.kind === "pubrel") {
      const { packetId } = one
      if (received.has(packetId)) {
        actor.open.push({ packetId, qos: 2, key: "", received: true })
        return possible.happened((model) => compare.released(model.session(name), packetId))
      }
      actor.send(pubcomp(packetId))
      return possible.either([
        (model) => {
          compare.released(model.session(name), packetId)
          model.session(name).finish(packetId)
        },
        (model) => compare.releasedAgain(model.session(name), packetId),
      ])
    }
    const { message } = one
    const { packetId, qos } = message
    if (qos === 0) return possible.happened((model) => compare.plain(model.session(name), message, prefix))
    const key = `${message.payload.toString()} ${message.retain}`
    if (qos === 2 || !message.dup || !acknowledged.has(key)) {
      actor.open.push({ packetId, qos, key, received: false })
      return possible.happened((model) => compare.published(model.session(name), message, prefix))
    }
    actor.puback(packetId)
    possible.either([
      (model) => {
        compare.published(model.session(name), message, prefix)
        model.session(name).finish(packetId)
      },
      (model) => compare.publishedAgain(model.session(name), message),
    ])
  }

  /** Everybody comes back and ends what is begun, then acknowledges until nothing is left: what was queued is there, and nothing else. */
  private async drain(): Promise<void> {
    for (const name of NAMES) {
      this.history.push(`${name} ends what it has begun`)
      const actor = await this.actor(name)
      await this.resend(name, actor)
      await this.release(name, actor)
      await this.check()
    }
    for (const name of NAMES) {
      this.history.push(`${name} takes all that is left`)
      const actor = await this.actor(name)
      while (actor.open.length > 0) {
        await this.acknowledge(name, actor, "all")
        await this.check()
      }
    }
    const empty = this.possible.some((model) => NAMES.every((name) => model.session(name).queue.length === 0))
    if (!empty) throw new Error("everything is acknowledged, and no model is done")
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

function nothing(): void {}

function newMemory(): Memory {
  return { begun: [], acknowledged: new Set(), received: new Set(), will: null }
}
