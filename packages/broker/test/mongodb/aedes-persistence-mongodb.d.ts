declare module "aedes-persistence-mongodb" {
  import type { Db } from "mongodb"

  export default function persistence(options: { db: Db }): object
}
