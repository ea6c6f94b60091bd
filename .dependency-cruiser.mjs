/*
 * Which file may import which; `import type` counts like any other. `npm run arrows` says what does not fit.
 */

/** Folders of the broker, each with those that it may import beside itself. */
const BROKER = {
  wire: [],
  accounting: [],
  stores: ["wire"],
  access: ["wire"],
  delivery: ["wire", "accounting", "stores", "access"],
  engine: ["wire"],
  connection: ["wire", "accounting", "stores", "access", "delivery", "engine"],
  admin: ["wire", "stores", "access", "delivery"],
  server: ["wire", "accounting", "stores", "access", "delivery", "engine", "connection", "admin"],
  commands: ["wire", "accounting", "stores", "access", "admin", "server"],
}

/** Packages, each with those that it may import. */
const PACKAGES = {
  common: [],
  testing: [],
  client: ["common"],
  torture: ["common"],
  broker: ["common", "torture"],
  pub: ["common", "client"],
  sub: ["common", "client"],
  demo: ["common", "testing", "torture"],
}

/** Other people's packages that are imported in one place. */
const DOORS = {
  aedes: "packages/broker/src/engine/aedes[.]ts",
  lmdb: "packages/broker/src/stores/",
  mongodb: "packages/broker/src/stores/mongodb/",
  "aedes-persistence-mongodb": "packages/broker/src/stores/mongodb/aedes-layout[.]ts",
  "mqtt-packet": "packages/(broker/src/connection|broker/src/server/packet-trace|client/src)",
  mqtt: "packages/client/src/",
  socks: "packages/client/src/",
  chalk: "packages/common/src/colors[.]ts",
  commander: "packages/(broker/src/commands|common/src/options|common/src/run-client)",
  "hash-wasm": "packages/broker/src/access/users/argon2id[.]ts",
  "smol-toml": "packages/broker/src/commands/config-file[.]ts",
  "@peculiar/x509": "packages/broker/src/commands/x509[.]ts",
  ws: "packages/broker/src/server/listeners/websocket",
  pino: "packages/broker/src/server/(event-log|line-sink)[.]ts",
}

const folders = Object.entries(BROKER).map(([name, below]) => ({
  name: `broker/${name}`,
  comment: `imports point down: see the layers in packages/broker/DESIGN.md`,
  severity: "error",
  from: { path: `^packages/broker/src/${name}/` },
  to: { path: "^packages/broker/src/[^/]+/", pathNot: `^packages/broker/src/(${[name, ...below].join("|")})/` },
}))

const packages = Object.entries(PACKAGES).map(([name, below]) => ({
  name: `package ${name}`,
  severity: "error",
  from: { path: `^packages/${name}/src/` },
  to: { path: "^packages/[^/]+/", pathNot: `^packages/(${[name, ...below].join("|")})/` },
}))

const doors = Object.entries(DOORS).map(([name, door]) => ({
  name: `door of ${name}`,
  comment: "other people's packages have one door each",
  severity: "error",
  from: { path: "^packages/[^/]+/src/", pathNot: `^${door}` },
  to: { path: `node_modules/${name}/` },
}))

export default {
  forbidden: [{ name: "no circle", severity: "error", from: {}, to: { circular: true } }, ...folders, ...packages, ...doors],
  options: {
    parser: "swc",
    tsPreCompilationDeps: true,
    doNotFollow: { path: "node_modules|/dist/" },
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "types", "default"] },
  },
}
