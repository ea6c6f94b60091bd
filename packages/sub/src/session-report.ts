import { counted, type Diagnostics } from "@mqtt-trio/common"
import type { ClientConnection } from "@mqtt-trio/client"

/** How long nothing must come until the messages that were waiting count as delivered. */
const QUIET_MS = 150

/** When there is no pause because new messages come all the time, the report says what it knows after this time. */
const LONGEST_MS = 3000

export interface SessionReportOptions {
  readonly clientId: string
  readonly diagnostics: Diagnostics
  /** One JSON object instead of the sentence. */
  readonly json: boolean
  readonly quiet: boolean
}

/**
 * Says on stderr whether the session was new or resumed, and how many messages were waiting in it: as mqtt-broker says in
 * its CONNACK, or, with other brokers and before MQTT 5.0, those that come before the first pause.
 */
export class SessionReport {
  private readonly options: SessionReportOptions
  private waiting = 0
  private printed = false
  private timer: NodeJS.Timeout | undefined
  private limit: NodeJS.Timeout | undefined

  constructor(options: SessionReportOptions) {
    this.options = options
  }

  /** Connected for the first time. */
  start({ sessionPresent, properties }: ClientConnection["connack"]): void {
    const told = Number(properties?.userProperties?.find(([name]) => name === "messages-waiting")?.[1] ?? NaN)
    if (Number.isSafeInteger(told)) this.waiting = told
    if (!sessionPresent || Number.isSafeInteger(told)) return this.print(sessionPresent, true)
    this.timer = setTimeout(() => this.finish(), QUIET_MS)
    this.limit = setTimeout(() => this.finish(false), LONGEST_MS)
  }

  /** A message came; the first ones may come before {@link start}. */
  message(): void {
    if (this.printed) return
    this.waiting += 1
    this.timer?.refresh()
  }

  /** Prints now what is known, if that has not happened yet; `complete` says that all that waited has come. */
  finish(complete = true): void {
    if (this.timer === undefined) return
    clearTimeout(this.timer)
    clearTimeout(this.limit)
    this.timer = undefined
    this.print(true, complete)
  }

  private print(resumed: boolean, complete: boolean): void {
    const { clientId, diagnostics, json, quiet } = this.options
    this.printed = true
    if (quiet) return
    const messages = counted(this.waiting, "message")
    if (json) process.stderr.write(`${JSON.stringify({ event: "session", client: clientId, resumed, waiting: this.waiting, complete })}\n`)
    else if (!resumed) diagnostics.note("new session")
    else if (complete) diagnostics.note(`session ${clientId} resumed: ${messages} ${this.waiting === 1 ? "was" : "were"} waiting`)
    else diagnostics.note(`session ${clientId} resumed: ${messages} so far, waiting and new ones`)
  }
}
