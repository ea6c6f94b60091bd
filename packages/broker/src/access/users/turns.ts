/** Passwords of one place that are looked at together: as many as there are threads to hash them. */
const AT_A_TIME = 2
/** Most that wait, of one place and of all. */
const MOST_OF_A_PLACE = 200
const MOST_OF_ALL = 2000
/** Most bytes of all passwords that wait or are looked at. */
const MOST_BYTES = 32 << 20

/** What asks for a turn. */
export interface Asking {
  readonly bytes: Buffer
  /** Whether nobody waits for the answer any more. */
  readonly gone: () => boolean
}

interface Waiting extends Asking {
  readonly go: (isTurn: boolean) => void
}

interface Place {
  busy: number
  waiting: Waiting[]
}

/** Passwords from one place are looked at a few at a time, so that each knows how wrong those before it were. Memory is bounded. */
export class Turns {
  private readonly places = new Map<string, Place>()
  private count = 0
  private bytes = 0

  /** How many wait. */
  get waiting(): number {
    return this.count
  }

  /** Whether none of the place is looked at now. */
  isFree(place: string): boolean {
    return !this.places.has(place)
  }

  /** Resolves with true when it is its turn, which leave() ends; with false when there are too many, or it is gone by then. */
  enter(name: string, asking: Asking): Promise<boolean> {
    if (this.isFull(name)) this.sweep()
    if (this.isFull(name)) return Promise.resolve(false)
    const place = this.places.get(name) ?? { busy: 0, waiting: [] }
    this.places.set(name, place)
    this.bytes += asking.bytes.length
    if (place.busy < AT_A_TIME) {
      place.busy++
      return Promise.resolve(true)
    }
    this.count++
    return new Promise((go) => {
      place.waiting.push({ ...asking, go })
    })
  }

  private isFull(name: string): boolean {
    const waiting = this.places.get(name)?.waiting.length ?? 0
    return this.count >= MOST_OF_ALL || waiting >= MOST_OF_A_PLACE || this.bytes >= MOST_BYTES
  }

  leave(name: string, { bytes }: Asking): void {
    const place = this.places.get(name)
    if (!place) return
    this.bytes -= bytes.length
    for (let next = place.waiting.shift(); next; next = place.waiting.shift()) {
      this.count--
      const isTurn = !next.gone()
      if (!isTurn) this.bytes -= next.bytes.length
      next.go(isTurn)
      if (isTurn) return
    }
    if (--place.busy === 0) this.places.delete(name)
  }

  /** Those that are gone need no turn. */
  private sweep(): void {
    for (const place of this.places.values()) {
      const [gone, there] = [place.waiting.filter((one) => one.gone()), place.waiting.filter((one) => !one.gone())]
      place.waiting = there
      this.count -= gone.length
      for (const one of gone) {
        this.bytes -= one.bytes.length
        one.go(false)
      }
    }
  }
}
