import { writeFileSync, rmSync } from "node:fs"
import type { TestBroker } from "@mqtt-trio/common/testing"
import { waitFor } from "@mqtt-trio/common/testing"
import { ModelClient } from "./model-client.js"
import { ModelSession, type Arrival, type Message } from "./model-session.js"
import { CLIENTS, describeStep, type Death, type Step } from "./step.js"

const SETTLE_MS = 10_000

/** The real broker and the file that tells it when to die. */
export interface MortalBroker {
  broker: TestBroker
  dieFile: string
}

let runs = 0

/** Lets the steps happen to the broker and to the model, one after the other; throws with a readable history when they part. */
export async function runSteps(target: MortalBroker, steps: readonly Step[]): Promise<void> {
  const run = new Run(target)
  try {
    for (const step of steps) await run.step(step)
    await run.finish()
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new Error(`${reason}\nhistory:\n${run.history.map((line) => `  ${line}`).join("\n")}`, { cause: error })
  } finally {
    await run.cleanUp()
  }
}

class Run {
  readonly history: string[] = []
  private readonly target: MortalBroker
  private readonly prefix = `m${runs++}`
  private readonly sessions: (ModelSession | undefined)[] = Array.from({ length: CLIENTS })
  private readonly clients: (ModelClient | undefined)[] = Array.from({ length: CLIENTS })
  private readonly holds: boolean[] = Array.from({ length: CLIENTS }, () => false)
  private wrong: string | undefined
  private published = 0

  constructor(target: MortalBroker) {
    this.target = target
  }

  async step(step: Step): Promise<void> {
    if (!this.makesSense(step)) return
    this.history.push(describeStep(step))
    if ("death" in step && step.death) this.arm(step.death)
    await this.perform(step)
    rmSync(this.target.dieFile, { force: true })
    await this.settle()
  }

  /** Everybody comes back, acknowledges, and has got everything. */
  async finish(): Promise<void> {
    for (const [client, session] of this.sessions.entries()) {
      this.holds[client] = false
      if (session?.clean === false) await this.step({ kind: "connect", client, clean: false, death: undefined })
    }
  }

  /** No session of this run stays with the broker. */
  async cleanUp(): Promise<void> {
    rmSync(this.target.dieFile, { force: true })
    for (let client = 0; client < CLIENTS; client++) {
      this.clients[client]?.cut()
      const last = new ModelClient(this.target.broker.port, { arrived: () => {}, acknowledged: () => {}, released: () => {} })
      await last.connect(this.id(client), true)
      last.cut()
    }
  }

  private makesSense(step: Step): boolean {
    if (step.kind === "kill" || step.kind === "connect") return true
    if (step.kind === "hold") return this.clients[step.client] !== undefined && this.holds[step.client] === false
    if (step.kind === "release") return this.clients[step.client] !== undefined && this.holds[step.client] === true
    return this.clients[step.client] !== undefined
  }

  private async perform(step: Step): Promise<void> {
    switch (step.kind) {
      case "connect":
        return this.connect(step.client, step.clean)
      case "subscribe":
        return this.subscribe(step.client, step.filter, step.qos)
      case "unsubscribe":
        return this.unsubscribe(step.client, step.filter)
      case "publish":
        return this.publish(step.client, step.topic, step.qos)
      case "disconnect":
        await this.clients[step.client]?.disconnect()
        return this.left(step.client)
      case "cut":
        this.clients[step.client]?.cut()
        return this.left(step.client)
      case "hold":
      case "release":
        return this.hold(step.client, step.kind === "hold")
      case "kill":
        return this.revive()
    }
  }

  private async connect(client: number, clean: boolean): Promise<void> {
    this.clients[client]?.abandon()
    this.sessions[client]?.left()
    const before = this.sessions[client]?.clean === false ? this.sessions[client] : undefined
    const session = clean || !before ? new ModelSession(clean) : before
    this.sessions[client] = session
    session.resumed()
    for (let died = false; ; died = true) {
      const connection = this.open(client, session)
      const present = await connection.connect(this.id(client), clean)
      if (present === undefined) {
        await this.revive()
        session.resumed()
        continue
      }
      const expected = !clean && before !== undefined
      // When the broker died in the first attempt, that one may have made the session.
      if (present !== expected && !(died && !clean)) throw new Error(`client ${client}: Session Present is ${present}`)
      this.clients[client] = connection
      this.sessions[client] = session
      return
    }
  }

  private open(client: number, session: ModelSession): ModelClient {
    const connection = new ModelClient(this.target.broker.port, {
      arrived: (arrival) => this.arrived(client, session, arrival),
      acknowledged: (n) => session.acknowledged(n),
      released: (packetId) => session.released(packetId),
    })
    connection.holds = this.holds[client] ?? false
    return connection
  }

  private arrived(client: number, session: ModelSession, arrival: Arrival): void {
    const { n, qos, dup, packetId } = arrival
    this.history.push(`  client ${client} gets ${n} at QoS ${qos}${dup ? ", DUP" : ""}${qos > 0 ? `, identifier ${packetId}` : ""}`)
    const wrong = session.arrived({ ...arrival, topic: arrival.topic.slice(this.prefix.length + 1) })
    if (wrong !== undefined) this.wrong ??= `client ${client}: message ${n} ${wrong}`
  }

  /** Runs a request until it was answered; when the broker dies in it, the client comes back and asks again. */
  private async untilDone(client: number, request: (connection: ModelClient) => Promise<boolean>): Promise<boolean> {
    for (;;) {
      const connection = this.clients[client]
      if (!connection) return false
      if (await request(connection)) return true
      const clean = this.sessions[client]?.clean ?? true
      await this.revive()
      if (clean) return false
      await this.connect(client, false)
    }
  }

  private async subscribe(client: number, filter: string, qos: 0 | 1 | 2): Promise<void> {
    const done = await this.untilDone(client, (connection) => connection.subscribe(`${this.prefix}/${filter}`, qos))
    if (done) this.sessions[client]?.subscriptions.set(filter, qos)
  }

  private async unsubscribe(client: number, filter: string): Promise<void> {
    const done = await this.untilDone(client, (connection) => connection.unsubscribe(`${this.prefix}/${filter}`))
    if (done) this.sessions[client]?.subscriptions.delete(filter)
  }

  private async publish(client: number, topic: string, qos: 1 | 2): Promise<void> {
    const n = this.published++
    const message: Message = { n, publisher: String(client), topic, qos, repeated: false, optional: false }
    for (const [index, session] of this.sessions.entries()) session?.offer(message, this.clients[index] !== undefined)
    const packet = { topic: `${this.prefix}/${topic}`, qos, payload: Buffer.from(String(n)) }
    const packetId = (n % 65_535) + 1
    const progress: { reached: "done" | "received" | "nothing" } = { reached: "nothing" }
    let attempts = 0
    const done = await this.untilDone(client, async (connection) => {
      if (attempts++ > 0) this.history.push(`  client ${client} sends ${progress.reached === "received" ? "PUBREL for" : ""} ${n} again`)
      message.repeated = attempts > 1
      progress.reached =
        progress.reached === "received" ? await connection.release(packetId) : await connection.publish(packet, packetId, attempts > 1)
      return progress.reached === "done"
    })
    message.optional = !done && progress.reached !== "received"
  }

  private hold(client: number, holds: boolean): void {
    this.holds[client] = holds
    const connection = this.clients[client]
    if (!connection) return
    connection.holds = holds
    if (!holds) connection.acknowledgeAgain()
  }

  private left(client: number): void {
    this.clients[client] = undefined
    this.sessions[client]?.left()
    if (this.sessions[client]?.clean === true) this.sessions[client] = undefined
  }

  private arm(death: Death): void {
    writeFileSync(this.target.dieFile, `${death.when} ${death.commit}\n`)
  }

  /** Kills the broker if it lives, and starts it again. */
  private async revive(): Promise<void> {
    const { broker, dieFile } = this.target
    await broker.kill9()
    rmSync(dieFile, { force: true })
    this.history.push("  the broker died and is started again")
    for (const [client, connection] of this.clients.entries()) {
      connection?.cut()
      this.clients[client] = undefined
      this.sessions[client]?.brokerDied()
      if (this.sessions[client]?.clean === true) this.sessions[client] = undefined
    }
    await broker.restart()
  }

  /** Waits until every connected client has got what the model says, and its acknowledgements have been processed. */
  private async settle(): Promise<void> {
    const settled = async (): Promise<boolean> => {
      // A death that was armed may come now, with the acknowledgements.
      if (this.clients.some((connection) => connection?.isOpen === false)) await this.revive()
      return (
        this.wrong !== undefined || this.clients.every((connection, client) => !connection || this.sessions[client]?.isSettled === true)
      )
    }
    const missing = (): string =>
      this.sessions.map((session, client) => `client ${client} ${session?.missing ?? "has no session"}`).join("; ")
    // oxlint-disable-next-line no-await-in-loop -- one round after the other
    for (let n = 0; n < 20 && !(await settled()); n++) await this.pingAll()
    try {
      await waitFor(settled, { timeoutMs: SETTLE_MS, what: "deliveries" })
    } catch {
      throw new Error(`deliveries are missing: ${missing()}`)
    }
    if (this.wrong !== undefined) throw new Error(this.wrong)
    await this.pingAll()
  }

  private async pingAll(): Promise<void> {
    for (const connection of this.clients) await connection?.ping()
  }

  private id(client: number): string {
    return `${this.prefix}-client-${client}`
  }
}
