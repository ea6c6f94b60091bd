import type { Target } from "@mqtt-trio/common"

/** A door of the broker: it accepts network connections until close(). One file per kind stands in listeners/. */
export interface Listener {
  /** where clients reach it; its port is the real one */
  readonly target: Target
  /** Nobody new is accepted; connections that are open stay. */
  close(): void
}
