import {
  BaseError,
  CliError,
  connectionSettings,
  counted,
  mergeProperties,
  pause,
  writeOut,
  type ClientIo,
  type ClientStart,
  type ConnectionSettings,
  type Diagnostics,
  type Properties,
} from "@mqtt-trio/common"
import { forbiddenPublish, openConnection, type ClientConnection } from "@mqtt-trio/client"
import { splitLines } from "./lines.js"
import { prepareMessages, type MessageMaker } from "./payloads.js"
import { showProgress } from "./progress.js"
import { Publisher } from "./publisher.js"
import { checkTopic, type PubPlan } from "./rules.js"
import { Sequence } from "./sequence.js"

/** How long a stopped run waits for acknowledgements that are on their way. */
const GRACE_MS = 5000
/** How long it does so without a word. */
const PATIENCE_MS = 200

/** How long the session of a QoS 2 stream outlives its network connection: without it a reconnect would send messages twice. */
const TRANSIENT_SESSION_SECONDS = 300

const LARGE_FILE_BYTES = 1_000_000

interface Run extends ClientIo {
  readonly plan: PubPlan
  readonly messages: MessageMaker
  readonly publisher: Publisher
  readonly connection: ClientConnection
  readonly sequence: Sequence | undefined
  /** Aborted when nothing more shall be sent: a signal, a lost connection, a closed output. */
  readonly halt: AbortController
  /** Done when all numbers are printed. */
  printing: Promise<void>
}

/** Publishes what the plan says. Returns the exit code; throws what the user has to know. */
export async function runPub(plan: PubPlan, { diagnostics, listenForStop }: ClientStart): Promise<number> {
  const messages = await prepareMessages(plan)
  const publisher = new Publisher(plan.values.maxInflight)
  const halt = new AbortController()
  const settings = await pubSettings(plan, diagnostics)
  const io = { diagnostics, stop: listenForStop() }
  io.stop.signal.addEventListener("abort", () => halt.abort())
  let connection: ClientConnection
  try {
    connection = await openConnection({
      settings,
      diagnostics: io.diagnostics,
      signal: io.stop.signal,
      handlers: handlers(plan, publisher, halt, io),
    })
  } catch (error) {
    if (io.stop.received !== undefined) return io.stop.exitCode
    throw error
  }
  const sequence = plan.values.seq ? new Sequence(connection.settings.version) : undefined
  const run: Run = { ...io, plan, messages, publisher, connection, sequence, halt, printing: Promise.resolve() }
  const endProgress = showProgress(publisher, isLong(plan, messages) && !plan.values.quiet)
  try {
    const refused = forbidden(plan, connection)
    if (refused !== undefined) throw refused
    publisher.attach(connection)
    const complete = plan.source.kind === "lines" ? await sendLines(run) : await sendRepeated(run)
    await drain(run, complete)
    await checkArrival(run)
    await run.printing
    return result(run, complete)
  } finally {
    endProgress()
    await connection.end()
  }
}

/** Waits for acknowledgements; when the run is stopped, for those that come soon. */
async function drain({ publisher, halt, stop, diagnostics }: Run, complete: boolean): Promise<void> {
  if (complete) await publisher.whenDrained(halt.signal)
  if (!halt.signal.aborted) return
  const patience = setTimeout(() => {
    if (stop.received === undefined) return
    const what = counted(publisher.inFlight, "acknowledgement")
    diagnostics.note(`stopping: waiting up to ${GRACE_MS / 1000} s for ${what}; ${stop.received} again ends at once`)
  }, PATIENCE_MS)
  await publisher.whenDrained(AbortSignal.timeout(GRACE_MS))
  clearTimeout(patience)
}

/** QoS 0 promises nothing; but a connection that is closed instead of taking the last messages is no success. */
async function checkArrival({ plan, publisher, connection, halt }: Run): Promise<void> {
  if (plan.values.qos > 0 || publisher.acknowledged === 0 || halt.signal.aborted || (await connection.arrived(halt.signal))) return
  const hint = "is the message larger than the broker takes, or not allowed there? With -q 1 it is sent until it is acknowledged"
  publisher.failure ??= new CliError("connection-lost", "the connection was closed before the broker had the last message", { hint })
}

/** True when people may have to wait long enough to want to see progress. */
function isLong({ source, numbered }: PubPlan, messages: MessageMaker): boolean {
  if (numbered) return false
  // The progress would overwrite lines that somebody types.
  if (source.kind === "lines") return !process.stdin.isTTY
  return source.kind !== "text" && messages.payload(1).length > LARGE_FILE_BYTES
}

async function pubSettings(plan: PubPlan, diagnostics: Diagnostics): Promise<ConnectionSettings> {
  const settings = await connectionSettings(plan.values, {
    name: "mqtt-pub",
    diagnostics,
    versionFixed: plan.versionFixed,
    useUrl: plan.useUrl,
    passwordShown: plan.passwordShown,
  })
  const transient =
    plan.values.qos === 2 && settings.version === 5 && settings.clean && settings.connectProperties?.sessionExpiryInterval === undefined
  if (!transient) return settings
  return {
    ...settings,
    transientSession: true,
    connectProperties: { ...settings.connectProperties, sessionExpiryInterval: TRANSIENT_SESSION_SECONDS },
  }
}

function handlers(
  plan: PubPlan,
  publisher: Publisher,
  halt: AbortController,
  { diagnostics }: ClientIo,
): Parameters<typeof openConnection>[0]["handlers"] {
  return {
    connected: () => {
      diagnostics.note("connected again")
      const refused = publisher.connection === undefined ? undefined : forbidden(plan, publisher.connection)
      if (refused !== undefined) {
        publisher.failed(refused)
        halt.abort()
        return
      }
      publisher.connected()
    },
    lost: (why) => {
      publisher.lost()
      diagnostics.warn(`connection lost (${why}), ${counted(publisher.inFlight, "message")} unacknowledged; connecting again`)
    },
    failed: (error) => {
      publisher.failed(error)
      halt.abort()
    },
  }
}

/** The error for messages that the broker does not take, as its CONNACK says; before MQTT 5 it says nothing. */
function forbidden(plan: PubPlan, { connack, settings }: ClientConnection): CliError | undefined {
  if (settings.version < 5) return undefined
  return forbiddenPublish(connack, { qos: plan.values.qos, retain: plan.values.retain, properties: messageProperties(plan, undefined) })
}

async function sendRepeated(run: Run): Promise<boolean> {
  const { plan, publisher, halt } = run
  let due = performance.now()
  for (let n = 1; n <= plan.count; n += 1) {
    if (plan.periodMs !== undefined && n > 1) {
      due = Math.max(due + plan.periodMs, performance.now())
      await pause(due - performance.now(), halt.signal)
    }
    await publisher.whenReady(halt.signal)
    if (halt.signal.aborted) return false
    send(run, n)
    if (publisher.unsendable) break
  }
  return true
}

async function sendLines(run: Run): Promise<boolean> {
  const { plan, publisher, halt } = run
  halt.signal.addEventListener("abort", () => process.stdin.destroy())
  let n = 0
  try {
    for await (const lines of splitLines(process.stdin)) {
      for (const line of lines) {
        n += 1
        if (plan.periodMs !== undefined && n > 1) await pause(plan.periodMs, halt.signal)
        if (!publisher.ready) await publisher.whenReady(halt.signal)
        if (halt.signal.aborted) return false
        sendLine(run, n, line)
      }
    }
  } catch (error) {
    if (!halt.signal.aborted) throw error
  }
  return !halt.signal.aborted
}

/** A line that cannot be sent is left out and the others are sent; at the end it is an error. */
function sendLine(run: Run, n: number, line: Buffer): void {
  try {
    send(run, n, line)
  } catch (error) {
    if (!(error instanceof CliError)) throw error
    run.publisher.leaveOut(error)
  }
}

function send(run: Run, n: number, line?: Buffer): void {
  const { plan, publisher, sequence } = run
  const topic = run.messages.topic(n, line)
  if (plan.values.template) checkTopic(topic)
  const stamped = sequence?.stamp(topic, run.messages.payload(n, line))
  const payload = stamped?.payload ?? run.messages.payload(n, line)
  const properties = run.connection.settings.version === 5 ? messageProperties(plan, stamped?.properties) : undefined
  publisher.send(topic, payload, { qos: plan.values.qos, retain: plan.values.retain, properties }, (refused) => {
    if (refused !== undefined && run.publisher.refused <= 5) run.diagnostics.debug(refused.message)
    if (plan.numbered && refused === undefined) run.printing = printNumber(run, n)
  })
}

/** What goes wrong with the output ends the run. */
async function printNumber({ halt, publisher }: Run, n: number): Promise<void> {
  try {
    if (!(await writeOut(`${n}\n`))) halt.abort()
  } catch (error) {
    publisher.failed(error instanceof CliError ? error : new CliError("output-failed", String(error)))
    halt.abort()
  }
}

function messageProperties({ values, properties }: PubPlan, stamp: Properties | undefined): Properties | undefined {
  const parts: Properties[] = [...properties]
  if (values.expiry !== undefined) parts.push({ messageExpiryInterval: values.expiry })
  if (values.contentType !== undefined) parts.push({ contentType: values.contentType })
  if (values.responseTopic !== undefined) parts.push({ responseTopic: values.responseTopic })
  if (values.correlationData !== undefined) parts.push({ correlationData: values.correlationData })
  if (values.payloadFormat) parts.push({ payloadFormatIndicator: true })
  if (values.topicAlias !== undefined) parts.push({ topicAlias: values.topicAlias })
  if (stamp !== undefined) parts.push(stamp)
  return mergeProperties(parts)
}

function result({ publisher, plan, stop, diagnostics }: Run, complete: boolean): number {
  const left = publisher.inFlight
  const unacknowledged = left === 0 ? "" : `${counted(left, "message")} ${left === 1 ? "is" : "are"} unacknowledged`
  if (publisher.failure !== undefined) {
    const { code, message, exitCode, hint, cause } = publisher.failure
    if (code !== "connection-lost") throw publisher.failure
    throw new CliError("connection-lost", left === 0 ? message : `${message}; ${unacknowledged}`, { hint, cause: cause ?? exitCode })
  }
  if (publisher.refusal !== undefined) {
    const more = publisher.sent > 1 ? ` (${publisher.refused} of ${publisher.sent} messages)` : ""
    const { code, exitCode, message, hint } = publisher.refusal
    throw new BaseError({ code, exitCode, message: message + more, hint })
  }
  if (stop.received === undefined) return 0
  if (left > 0) diagnostics.warn(`stopped: ${unacknowledged}`)
  const endless = plan.count === Number.POSITIVE_INFINITY && plan.source.kind !== "lines"
  return left === 0 && (complete || endless) ? 0 : stop.exitCode
}
