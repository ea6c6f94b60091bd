import type { Db } from "mongodb"
import type { Collections } from "./database.js"

/** One broker's time as the owner of a database. */
export interface Tenure {
  readonly db: Db
  readonly collections: Collections
  /** the same database, for what reads a whole collection */
  readonly patient: Db
  /** rises with each owner: what a later one wrote is not overwritten */
  readonly epoch: number
  /** of this process (LeaseDocument.owner) */
  readonly owner: string
  /** The owner before gave its lease up: nothing of it is on its way any more. */
  readonly followsRelease: boolean
  /** Makes the error that says that another broker took over. */
  readonly superseded: () => Error
}
