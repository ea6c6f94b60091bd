import { setTimeout as delay } from "node:timers/promises"
import { randomId, waitFor, type TestBroker } from "@mqtt-trio/testing"
import type { Death, End } from "../support/mortal-store.js"
import { properties, sessionExpiry, word } from "../support/wire.js"
import { Actor, type Incoming } from "./actor.js"
import { nothing, type Attempt } from "./attempt.js"
import * as compare from "./compare.js"
import type { MortalBroker } from "./mortal-broker.js"
import type { Model, ModelMessage, ModelWill } from "./plain-model.js"
import { Mismatch, Possibilities, type Move } from "./possibilities.js"
import { Publishing } from "./publishing.js"
import { Receiving } from "./receiving.js"
import { describeStep, type ClientName, type QoS, type Step, type WillOptions } from "./steps.js"

/** MQTT version and Receive Maximum of the clients; 3.1.1 has the broker's --max-inflight of 100. */
const CLIENTS: Record<ClientName, { version: 4 | 5; window: number }> = {
  A: { version: 5, window: 1000 },
  B: { version: 4, window: 100 },
  C: { version: 5, window: 2 },
}
const NAMES: ClientName[] = ["A", "B", "C"]
/** How long a process that is dying may take to be gone. */
const DEATH_MS = 1000
/** How long after its start the broker may still commit what it does by itself. */
const START_MS = 40
/** Cursors are stored within this time, with the next commit. */
const HOUSEKEEPING_MS = 15

interface Client {
  publishing: Publishing
  receiving: Receiving
  /** of its connection */
  will: ModelWill | null
}

/** The real broker and the model of it, side by side: each step is done in both, then they are compared. */
export class World {
  readonly history: string[] = []
  private readonly broker: TestBroker
  private readonly prefix = `${randomId()}/`
  readonly possible = new Possibilities()
  private readonly actors = new Map<ClientName, Actor>()
  private readonly clients: Record<ClientName, Client>
  private observer: Actor | undefined
  private nextNumber = 1

  /** what is left of the store when the broker dies now */
  private end: End = "process"

  constructor(private readonly mortal: MortalBroker) {
    this.broker = mortal.broker
    const attempt: Attempt = (work, moves) => this.attempt(work, moves)
    const client = (name: ClientName): Client => ({
      publishing: new Publishing(name, this.prefix, attempt),
      receiving: new Receiving(name, this.prefix, this.possible, attempt),
      will: null,
    })
    this.clients = { A: client("A"), B: client("B"), C: client("C") }
  }

  async run(steps: readonly Step[]): Promise<void> {
    if (!this.broker.running) await this.mortal.restart("process") // the history before this one ended with a dead one
    await this.observe()
    for (const step of steps) {
      this.history.push(describeStep(step))
      this.end = step.end
      if (step.death && step.do !== "crash") this.mortal.arm(step.death)
      await this.outlive(async () => {
        await this.take(step)
        await this.check()
      })
      this.mortal.disarm()
    }
    await this.drain()
  }

  /** Removes the sessions. */
  async finish(): Promise<void> {
    this.mortal.disarm()
    if (!this.broker.running) return
    for (const name of NAMES) await (await Actor.connect(this.broker.port, 4, { clientId: this.id(name) })).disconnect()
    await this.observer?.disconnect()
  }

  /** Does it; when the broker dies meanwhile, it starts again, and what was being done is given up. */
  private async outlive(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      if (error instanceof Mismatch || !(await this.died())) throw error
      this.mortal.noteDeath()
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
    if (step.do === "crash") return this.crash(step.death)
    const name = step.client
    const actor = await this.actor(name)
    const { publishing, receiving } = this.clients[name]
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
        return publishing.publish(actor, this.messages(step), () => this.barrier())
      case "clear":
        return this.attempt(
          async () => {
            await actor.publish({ topic: `${this.prefix}${step.topic}`, qos: 0, retain: true }, [""])
            await this.barrier()
          },
          () => [nothing, (model) => model.clear(step.topic)],
        )
      case "begin":
        return publishing.begin(actor, this.messages({ topic: step.topic, qos: 2, retain: false, count: 1 }))
      case "resend":
        return publishing.resend(actor)
      case "release":
        return publishing.release(actor)
      case "receive":
        return receiving.receiveAll(actor)
      case "acknowledge":
        return receiving.acknowledge(actor, step.which)
    }
  }

  private messages({ topic, qos, retain, count }: { topic: string; qos: QoS; retain: boolean; count: number }): ModelMessage[] {
    return Array.from({ length: count }, () => ({ n: this.nextNumber++, topic, qos, retain }))
  }

  private async connect(name: ClientName, options: { clean: boolean; lasting: boolean; will: WillOptions | null }): Promise<void> {
    const { version, window } = CLIENTS[name]
    const client = this.clients[name]
    const clean = version === 4 ? !options.lasting : options.clean
    const will = options.will && { ...options.will, n: this.nextNumber++ }
    const connect = { clean, lasting: options.lasting, window, will }
    const [old, fired] = [this.actors.get(name), client.will]
    if (clean) client.publishing.forget()
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
    if (!actor.present) client.publishing.forget()
    client.will = will
    this.actors.set(name, actor)
  }

  private async leave(name: ClientName, withWill: boolean): Promise<void> {
    const [actor, { will }] = [this.actors.get(name), this.clients[name]]
    if (!actor) return
    const work = async (): Promise<void> => {
      await (withWill ? actor.cut() : actor.disconnect())
      if (withWill && will) await this.seen(will.n)
      await this.barrier() // the connection may have ended because the broker died
    }
    await this.attempt(work, () => [nothing, (model) => model.leave(name, withWill)])
    this.actors.delete(name)
    this.clients[name].will = null
  }

  /** Kills the broker, if it is not dead, and starts it again. `again`: it dies while it starts, or is killed soon after. */
  private async crash(again: Death | null = null): Promise<void> {
    await this.broker.kill9()
    this.mortal.disarm()
    if (/internal error|unhandled|TypeError/.test(this.broker.stderr)) throw new Error(this.broker.stderr)
    const last = new Map<ClientName, Incoming[]>()
    for (const [name, actor] of this.actors) last.set(name, await actor.last())
    if (again && this.mortal.hasPoints) await this.dieAtStart(again)
    await this.mortal.restart(this.end)
    for (const [name, actor] of this.actors) this.seenLast(name, actor, last.get(name) ?? [])
    this.possible.happened((model) => model.crash())
    this.actors.clear()
    for (const name of NAMES) this.clients[name].will = null
    await this.observe()
  }

  /** Wills are sent at the start, each once, wherever it ends. */
  private async dieAtStart(death: Death): Promise<void> {
    this.mortal.arm(death)
    try {
      await this.mortal.restart(this.end)
      await delay(START_MS)
    } catch (error) {
      if (!(await this.died())) throw error
      this.mortal.noteDeath()
    }
    this.mortal.disarm()
    await this.broker.kill9()
  }

  /** What a session got from the broker that died must be in the store. What needs no store may have come before. */
  private seenLast(name: ClientName, actor: Actor, all: readonly Incoming[]): void {
    if (this.possible.some((model) => model.client(name).session?.transient ?? true)) return
    for (const one of all) if (one.kind === "pubrel" || one.message.qos > 0) this.takes(name, actor, one)
  }

  private takes(name: ClientName, actor: Actor, one: Incoming): void {
    this.history.push(`    ${name} gets ${compare.describeIncoming(one)}`)
    this.clients[name].receiving.takes(actor, one)
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
    await waitFor(async () => (await this.observer?.ping(), came()), { what: `the Will ${n}` })
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
      await waitFor(() => this.look(), { what: "all messages" })
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
      const full = `${message}; expected next: ${expected.join("; ")}; ${this.possible.count} models`
      throw error instanceof Mismatch ? new Mismatch(full, { cause: error }) : new Error(full, { cause: error })
    }
    await delay(HOUSEKEEPING_MS)
    await this.barrier()
    this.possible.happened((model) => {
      for (const { session } of model.clients.values()) session?.settle()
    })
  }

  private async look(): Promise<boolean> {
    for (const [name, actor] of this.actors) {
      await actor.ping()
      for (const one of actor.inbox.splice(0)) this.takes(name, actor, one)
    }
    return this.possible.some((model) => [...this.actors.keys()].every((name) => compare.complete(model.session(name))))
  }

  /** Everybody comes back and ends what is begun, then acknowledges until nothing is left: what was queued is there, and nothing else. */
  private async drain(): Promise<void> {
    for (const name of NAMES) {
      this.history.push(`${name} ends what it has begun`)
      const actor = await this.actor(name)
      await this.clients[name].publishing.resend(actor)
      await this.clients[name].publishing.release(actor)
      await this.check()
    }
    this.history.push("kill -9, restart")
    await this.crash()
    const reader = await this.actor("A")
    this.history.push('A subscribes "#" QoS 2: what is retained')
    this.possible.happened((model) => model.subscribe("A", "#", 2))
    await reader.subscribe(`${this.prefix}#`, 2)
    await this.check()
    for (const name of NAMES) {
      this.history.push(`${name} takes all that is left`)
      const actor = await this.actor(name)
      while (actor.open.length > 0) {
        await this.clients[name].receiving.acknowledge(actor, "all")
        await this.check()
      }
    }
    const empty = this.possible.some((model) => NAMES.every((name) => model.session(name).queue.length === 0))
    if (!empty) throw new Error("everything is acknowledged, and no model is done")
  }
}
