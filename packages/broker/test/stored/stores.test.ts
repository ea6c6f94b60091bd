import { join } from "node:path"
import { hasMongoServer, type MongoServer, startMongoServer, temporaryFolder } from "@mqtt-trio/testing"
import { beforeAll, describe } from "vitest"
import { openStore } from "../../src/stores/open-store.js"
import { parseStoreUrl } from "../../src/stores/store-url.js"
import { describeStore } from "../support/store-conformance.js"

describeStore({
  name: "memory:",
  lasting: false,
  create: () => () => openStore({ kind: "memory" }),
})

describeStore({
  name: "file:",
  lasting: true,
  create: () => {
    const folder = join(temporaryFolder(), "store")
    return () => openStore({ kind: "file", folder }, { readProgram: new URL("../../dist/stores/read-worker.js", import.meta.url) })
  },
})

describe.skipIf(!hasMongoServer())("with a server", () => {
  let server: MongoServer
  let n = 0

  beforeAll(async () => {
    server = await startMongoServer()
  })

  describeStore({
    name: "mongodb:",
    lasting: true,
    create: () => {
      const place = parseStoreUrl(`${server.url}_${n++}`)
      return () => openStore(place)
    },
  })
})
