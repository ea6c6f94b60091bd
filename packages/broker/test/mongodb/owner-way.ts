import type { Db } from "mongodb"
import type { Fate, Step } from "./owner-steps.js"

const WRITES = new Set(["insertOne", "insertMany", "updateOne", "updateMany", "findOneAndUpdate", "bulkWrite", "deleteMany"])

/** An owner does not know what became of a write. */
export class NoAnswer extends Error {}

/** An owner's way to the database: the next writes may meet a fate, and all of them wait while it sleeps. */
export class Way {
  fate: Fate = "fine"
  where: Step["where"] = "any"
  nth = 0
  /** so many writes and questions for one document later it sleeps, or something else happens first */
  left = Infinity
  leftWhere: Step["where"] = "any"
  meanwhile = async (): Promise<void> => this.sleep()
  readonly late: (() => Promise<unknown>)[] = []
  private asleep: Promise<void> | undefined = undefined
  private wakeUp = (): void => {}

  constructor(private readonly db: Db) {}

  sleep(): void {
    this.asleep ??= new Promise((resolve) => {
      this.wakeUp = resolve
    })
  }
  get isAsleep(): boolean {
    return this.asleep !== undefined
  }
  wake(): void {
    this.left = Infinity
    this.asleep = undefined
    this.wakeUp()
  }

  get database(): Db {
    return this.wrapped(this.db, (name, method) =>
      name === "collection" ? (...args: unknown[]) => this.collection(String(args[0]), method(...args)) : method,
    )
  }

  private collection<T>(collection: string, target: T): T {
    return this.wrapped(target, (name, method) => {
      if (WRITES.has(name)) return async (...args: unknown[]) => this.write(collection, () => method(...args))
      if (name === "findOne") return async (...args: unknown[]) => this.step(collection, () => method(...args))
      return method
    })
  }

  private wrapped<T>(target: T, wrap: (name: string, method: (...args: unknown[]) => never) => unknown): T {
    if (typeof target !== "object" || target === null) return target
    return new Proxy(target, {
      get: (of, name) => {
        const value: unknown = Reflect.get(of, name, of)
        return typeof value === "function" && typeof name === "string" ? wrap(name, value.bind(of)) : value
      },
    })
  }

  private async step(collection: string, go: () => Promise<unknown>): Promise<unknown> {
    if ((this.leftWhere === "any" || this.leftWhere === collection) && this.left-- === 0) await this.meanwhile()
    await this.asleep
    return go()
  }

  private write(collection: string, go: () => Promise<unknown>): Promise<unknown> {
    return this.step(collection, async () => {
      if (this.where !== "any" && this.where !== collection) return go()
      if (this.nth-- > 0) return go()
      const { fate } = this
      this.fate = "fine"
      if (fate === "late") this.late.push(go)
      if (fate === "unanswered") await go()
      if (fate !== "fine") throw new NoAnswer(fate)
      return go()
    })
  }
}
