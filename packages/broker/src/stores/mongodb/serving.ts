import { setTimeout as after } from "node:timers/promises"
import { Folding, rule } from "../folding.js"
import type { StoredState } from "../store.js"
import { Unfolded } from "../unfolded.js"
import { withUnfolded } from "../with-unfolded.js"
import { aedesCommit, dropAside, isAside, setAside } from "./aedes-import.js"
import { AedesLayout } from "./aedes-layout.js"
import { MongoJournal } from "./journal.js"
import { takeOver } from "./recovery.js"
import { MongoTables } from "./tables.js"
import type { Tenure } from "./tenure.js"

/** What is unfolded in memory before it is folded, in bytes, and how long after it came at the latest, in ms. */
const FOLD_BYTES = rule("MQTT_BROKER_TEST_FOLD_BYTES", 4 << 20)
const FOLD_MS = rule("MQTT_BROKER_TEST_FOLD_MS", 500)
/** How long a fold may take when the broker stops, in ms. */
const FINISH_MS = 2000
const MOST_UNFOLDED_BYTES = 32 << 20

/** A database that was taken over, at work. */
export interface Serving {
  /** as it was then */
  readonly state: StoredState
  readonly folding: Folding
  /**
   * Folds all, while no commits come, if that is soon done: else it is in the journal. Resolves with whether nothing is on its
   * way any more.
   */
  finish(): Promise<boolean>
  close(): Promise<void>
}

/** What is told of a database at work; each is tried again. */
export interface Trouble {
  /** why messages cannot be read for a while */
  unreadable: (error: unknown) => void
  /** why what the journal has cannot be brought into the other collections */
  unfoldable: (error: unknown) => void
}

/** Takes the database over. */
export async function serve(tenure: Tenure, trouble: Trouble): Promise<Serving> {
  const shown = new AedesLayout(tenure.patient)
  try {
    return await begin(tenure, shown, trouble)
  } catch (error) {
    await shown.close().catch(() => {})
    throw error
  }
}

async function begin(tenure: Tenure, shown: AedesLayout, { unreadable, unfoldable }: Trouble): Promise<Serving> {
  const { patient: db, collections } = tenure
  const { packets, retained, state } = collections
  const isStore = async (): Promise<boolean> => (await state.findOne({ _id: "journal" })) !== null
  if (!(await isStore())) await setAside(db, isStore)
  await Promise.all([
    packets.createIndex({ log: 1, _id: 1 }),
    // as aedes-persistence-mongodb makes it
    retained.createIndex({ topic: 1 }, { unique: true, name: "query_topic" }),
    shown.open(),
  ])
  const { commits, documents, last: recovered, journal: found } = await takeOver(tenure)
  const unfolded = new Unfolded()
  for (const commit of commits) unfolded.apply(commit)
  const tables = new MongoTables(tenure, { shown, unreadable, rowsFrom: found.rowsFrom })
  const stored = await tables.load()
  const kept = documents.map(({ _id }) => _id)
  const journal = new MongoJournal(tenure, recovered, kept)
  const aside = await isAside(db)
  if (aside && !recovered) {
    const commit = await aedesCommit(db, Date.now())
    await journal.append(commit)
    unfolded.apply(commit)
  }
  const { last } = journal
  const frozen = last > found.folded ? { unfolded, through: last } : undefined
  const rules = { bytes: FOLD_BYTES, mostBytes: MOST_UNFOLDED_BYTES, ms: FOLD_MS, journalOverfull: () => journal.isOverfull }
  const folding = new Folding({ journal, tables, rules, failing: unfoldable }, found.folded, frozen)
  if (aside) {
    await folding.foldAll()
    await dropAside(db)
  }
  return {
    state: frozen ? withUnfolded(stored, unfolded) : stored,
    folding,
    finish: async () => {
      const folded = folding.foldAll().catch(() => {})
      await Promise.race([folded, after(FINISH_MS, undefined, { ref: false })])
      tables.stop()
      await folded
      await journal.settled()
      return !tables.isUncertain
    },
    close: async () => {
      folding.stop()
      await tables.close()
      await shown.close()
    },
  }
}
