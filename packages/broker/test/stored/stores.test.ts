import { join } from "node:path"
import { temporaryFolder } from "@mqtt-trio/testing"
import { openStore } from "../../src/stores/open-store.js"
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
