// A broker that kills itself with SIGKILL right before or right after its nth commit:
//   node crashing-broker.mjs PORT FOLDER COMMIT before|after
import { Broker } from "../../dist/server/broker.js"
import { Log } from "../../dist/server/log.js"
import { openStore } from "../../dist/stores/open-store.js"

const [port, folder, deadly, when] = process.argv.slice(2)
let commits = 0

function die() {
  process.kill(process.pid, "SIGKILL")
  return new Promise(() => {}) // the signal may take a moment: nothing happens any more
}

async function crashing(location) {
  const store = await openStore(location)
  const commit = store.commit.bind(store)
  store.commit = async (writes) => {
    const last = ++commits === Number(deadly)
    if (last && when === "before") return die()
    await commit(writes)
    return last ? die() : undefined
  }
  return store
}

const limits = {
  packetBytes: 1_048_576,
  firstPacketBytes: 65_536,
  connectTimeoutMs: 10_000,
  inflight: 20,
  connections: 100,
  sessions: 100,
  subscriptions: 100,
  topicLevels: 100,
}
await Broker.start(
  {
    host: "127.0.0.1",
    port: Number(port),
    store: { kind: "file", folder },
    limits,
    retained: { count: 100, bytes: 1_000_000 },
    queueBytes: 2 ** 30,
  },
  new Log("error", false),
  crashing,
)
