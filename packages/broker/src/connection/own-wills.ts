import type { ArmedWill, DelayedWill, Wills } from "../delivery/wills/wills.js"

/** The Will of one connection, and the delayed one of its client that it took the place of. */
export class OwnWills {
  private own: ArmedWill | undefined = undefined
  /** not sent if CONNACK leaves */
  private earlier: DelayedWill | undefined = undefined

  constructor(private readonly wills: Wills) {}

  /** CONNECT was accepted. */
  open(own: ArmedWill | undefined, earlier: DelayedWill | undefined): void {
    this.own = own
    this.earlier = earlier
  }

  get isArmed(): boolean {
    return this.own !== undefined
  }

  /** The client leaves in order. */
  disarm(): void {
    if (this.own) this.wills.disarm(this.own)
    this.own = undefined
  }

  /** The connection ended. A client that was not told that its CONNECT was accepted has no Will with us, and has not come back. */
  end(told: boolean, sessionGoesOn: boolean): void {
    const { earlier, own, wills } = this
    if (own && told) wills.lost(own, sessionGoesOn)
    if (told) return
    if (own) wills.disarm(own)
    if (earlier) wills.restore(earlier, sessionGoesOn)
  }
}
