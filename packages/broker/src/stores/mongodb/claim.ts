import { LONG, type Row, ROWS } from "./database.js"
import type { Tenure } from "./tenure.js"

/**
 * Gives the rows that count a new epoch, so that what was written before and is still on its way changes none of them: it
 * carries a lower one. Returns the new one, from which on rows count once `rowsFrom` says so. Each try takes another.
 */
export async function claimRows({ db, collections }: Tenure, rowsFrom: number): Promise<number> {
  const counted = await collections.state.findOneAndUpdate({ _id: "journal" }, { $inc: { rows: 1 } }, { returnDocument: "after" })
  if (!counted) throw new Error("its state is gone")
  const claimIn = async (name: (typeof ROWS)[number]): Promise<void> => {
    const collection = db.collection<Row>(name)
    await collection.deleteMany({ epoch: { $lt: rowsFrom } }, LONG)
    await collection.updateMany({ epoch: { $gte: rowsFrom, $lt: counted.rows } }, { $set: { epoch: counted.rows } }, LONG)
  }
  await Promise.all(ROWS.map(claimIn))
  return counted.rows
}
