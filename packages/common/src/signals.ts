import { ERRORS } from "./errors.js"

export type StopSignal = "SIGINT" | "SIGTERM" | "SIGHUP"

/** The wish to stop, from the first signal on. */
export interface Stop {
  /** Aborted by the first signal. */
  readonly signal: AbortSignal
  /** The first signal, once it came. */
  readonly received: StopSignal | undefined
  /** 130 after SIGINT, 143 after the others: for work that was cut short. */
  readonly exitCode: number
  /** Gives the signals back to Node.js; call it when the work is done. */
  dispose(): void
}

/**
 * The first signal asks for a graceful end, the second ends the process at once, as if nobody handled it. A second one that
 * is SIGHUP does not: the end of a terminal sends several.
 * @param instead tells, and does, what a signal means that is no wish to stop
 */
export function listenForStop(
  signals: readonly StopSignal[] = ["SIGINT", "SIGTERM"],
  instead: (signal: StopSignal) => boolean = () => false,
): Stop {
  const controller = new AbortController()
  let received: StopSignal | undefined
  const dispose = (): void => {
    for (const signal of signals) process.off(signal, handle)
  }
  const handle = (signal: StopSignal): void => {
    if (instead(signal)) return
    if (received !== undefined) {
      if (signal === "SIGHUP") return
      dispose()
      process.kill(process.pid, signal)
      return
    }
    received = signal
    controller.abort()
  }
  for (const signal of signals) process.on(signal, handle)
  return {
    signal: controller.signal,
    get received() {
      return received
    },
    get exitCode() {
      return ERRORS[received === undefined || received === "SIGINT" ? "interrupted" : "terminated"].exitCode
    },
    dispose,
  }
}
