import type { Diagnostics } from "@mqtt-trio/common"

/** How long nothing must come until the messages that were waiting count as delivered. */
const QUIET_MS = 150

export interface SessionReportOptions {
  readonly clientId: string
  readonly diagnostics: Diagnostics
  /** One JSON object instead of the sentence. */
  readonly json: boolean
  readonly quiet: boolean
}

/**
 * Says on stderr whether the session was new or resumed, and how many messages were waiting in it. The broker does not say how
 * many: they are those that come before the first pause.
 */
export class SessionReport {
  readonly #options: SessionReportOptions
  #waiting = 0
  #printed = false
  #timer: NodeJS.Timeout | undefined

  constructor(options: SessionReportOptions) {
    this.#options = options
  }

  /** Connected for the first time. */
  start(resumed: boolean): void {
    if (resumed) this.#timer = setTimeout(() => this.finish(), QUIET_MS)
    else this.#print(false)
  }

  /** A message came; the first ones may come before {@link start}. */
  message(): void {
    if (this.#printed) return
    this.#waiting += 1
    this.#timer?.refresh()
  }

  /** Prints now what is known, if that has not happened yet. */
  finish(): void {
    if (this.#timer === undefined) return
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#print(true)
  }

  #print(resumed: boolean): void {
    const { clientId, diagnostics, json, quiet } = this.#options
    this.#printed = true
    if (quiet) return
    if (json) process.stderr.write(`${JSON.stringify({ event: "session", client: clientId, resumed, waiting: this.#waiting })}\n`)
    else if (resumed)
      diagnostics.note(`session ${clientId} resumed: ${this.#waiting} ${this.#waiting === 1 ? "message was" : "messages were"} waiting`)
    else diagnostics.note("new session")
  }
}
