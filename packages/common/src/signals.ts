import { ERRORS } from "./errors.js"

export type StopSignal = "SIGINT" | "SIGTERM"

/** The wish to stop, from the first SIGINT or SIGTERM on. */
export interface Stop {
  /** Aborted by the first signal. */
  readonly signal: AbortSignal
  /** The first signal, once it came. */
  readonly received: StopSignal | undefined
  /** 130 after SIGINT, 143 after SIGTERM: for work that was cut short. */
  readonly exitCode: number
  /** Gives the signals back to Node.js; call it when the work is done. */
  dispose(): void
}

/** The first signal asks for a graceful end, the second ends the process at once, as if nobody handled it. */
export function listenForStop(): Stop {
  const controller = new AbortController()
  let received: StopSignal | undefined
  const dispose = (): void => {
    process.off("SIGINT", handle)
    process.off("SIGTERM", handle)
  }
  const handle = (signal: StopSignal): void => {
    if (received !== undefined) {
      dispose()
      process.kill(process.pid, signal)
      return
    }
    received = signal
    controller.abort()
  }
  process.on("SIGINT", handle)
  process.on("SIGTERM", handle)
  return {
    signal: controller.signal,
    get received() {
      return received
    },
    get exitCode() {
      return ERRORS[received === "SIGTERM" ? "terminated" : "interrupted"].exitCode
    },
    dispose,
  }
}
