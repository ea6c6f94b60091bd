/** Why reading from one connection stands still: bits of Pause. It goes on when none is left. */
export class Pauses {
  private reasons = 0

  /** @param resumed called before reading goes on */
  constructor(
    private readonly stream: { pause(): unknown; resume(): unknown },
    private readonly resumed: () => void,
  ) {}

  get any(): boolean {
    return this.reasons !== 0
  }

  has(reason: number): boolean {
    return (this.reasons & reason) !== 0
  }

  begin(reason: number): void {
    this.reasons |= reason
    this.stream.pause()
  }

  /** The same for so many ms. */
  beginFor(reason: number, ms: number): void {
    this.begin(reason)
    setTimeout(() => this.end(reason), ms).unref()
  }

  /** The reason is gone; reading goes on with goOn(). */
  drop(reason: number): void {
    this.reasons &= ~reason
  }

  end(reason: number): void {
    if (!this.has(reason)) return
    this.drop(reason)
    if (this.any) return
    this.resumed()
    this.stream.resume()
  }

  goOn(): void {
    if (!this.any) this.stream.resume()
  }
}
