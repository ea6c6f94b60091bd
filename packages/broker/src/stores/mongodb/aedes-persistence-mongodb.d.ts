declare module "aedes-persistence-mongodb/asyncPersistence.js" {
  import type { Db } from "mongodb"

  interface Subscription {
    topic: string
    qos: 0 | 1 | 2
    nl: boolean
    rap: boolean
    rh: number
  }

  /** What is used of it; the package has no types. */
  export default class MongoPersistence {
    constructor(options: { db: Db })
    setup(broker: object): Promise<void>
    addSubscriptions(client: { id: string }, subscriptions: Subscription[]): Promise<void>
    removeSubscriptions(client: { id: string }, topics: string[]): Promise<void>
    putWill(client: { id: string }, packet: object): Promise<void>
    delWill(client: { id: string }): Promise<unknown>
    destroy(): Promise<void>
  }
}
