import { serialize } from "node:v8"
import { Model } from "./plain-model.js"

/** Something that happened, or was seen. Throws when the model does not allow it. */
export type Move = (model: Model) => void

interface Possibility {
  model: Model
  /** what made it, so that it can be made again */
  past: Move[]
}

/** What was seen fits none of the models. */
export class Mismatch extends Error {}

/**
 * What may be the case: one model, and after a crash in the middle of something one for each way in which that may have
 * ended. What is seen later leaves those that it fits.
 */
export class Possibilities {
  /** for messages to a person; the last one that was ruled out when none is left */
  likeliest = new Model()
  /** the most that there were at one time */
  most = 1
  /** why the last one was ruled out */
  private problem: unknown
  private list: Possibility[] = [{ model: this.likeliest, past: [] }]

  get count(): number {
    return this.list.length
  }

  some(fits: (model: Model) => boolean): boolean {
    return this.list.some(({ model }) => fits(model))
  }

  /** It happened. Throws a Mismatch when none of the models allows it. */
  happened(move: Move): void {
    this.keep(
      this.list.filter((one) => {
        one.past.push(move)
        return this.allows(one.model, move)
      }),
    )
  }

  /** One of these happened. Throws a Mismatch when none of the models allows any of them. */
  either(moves: readonly Move[]): void {
    const [only] = moves
    if (only && moves.length === 1) return this.happened(only)
    const different = new Map<string, Possibility>()
    for (const { past } of this.list)
      for (const move of moves) {
        const model = new Model()
        for (const earlier of past) earlier(model)
        if (this.allows(model, move)) different.set(serialize(model).toString("latin1"), { model, past: [...past, move] })
      }
    this.keep([...different.values()])
  }

  private allows(model: Model, move: Move): boolean {
    try {
      move(model)
      return true
    } catch (error) {
      this.problem = error
      this.likeliest = model
      return false
    }
  }

  private keep(list: Possibility[]): void {
    const [first] = list
    if (!first) throw new Mismatch(this.problem instanceof Error ? this.problem.message : String(this.problem), { cause: this.problem })
    this.list = list
    this.most = Math.max(this.most, list.length)
    this.likeliest = first.model
  }
}
