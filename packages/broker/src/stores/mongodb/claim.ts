import { LONG, type Row, ROWS } from "./database.js"
import type { Tenure } from "./tenure.js"

/**
 * Gives the rows that count a new epoch, so that what was written before and is still on its way changes none of them: it
 * carries a lower one. Returns the new one, from which on rows count once `rowsFrom` says so, or undefined when the journal is
 * another owner's. Each try takes another.
 * @param from the epoch of rows until now
 * @param owner the epoch of the journal, so that nobody claims who was replaced
 */
export async function claimRows({ db, collections }: Tenure, from: number, owner: number): Promise<number | undefined> {
  const next = { $inc: { rows: 1 } }
  const counted = await collections.state.findOneAndUpdate({ _id: "journal", epoch: owner }, next, { returnDocument: "after" })
  if (!counted) return undefined
  const claimIn = async (name: (typeof ROWS)[number]): Promise<void> => {
    const collection = db.collection<Row>(name)
    await collection.deleteMany({ epoch: { $lt: from } }, LONG)
    await collection.updateMany({ epoch: { $gte: from, $lt: counted.rows } }, { $set: { epoch: counted.rows } }, LONG)
  }
  await Promise.all(ROWS.map(claimIn))
  return counted.rows
}
