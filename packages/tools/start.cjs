"use strict"
// Runs the bundle's cli.cjs with what V8 compiled when it was built. Another version of Node.js does not take that, and
// compiles anew: slower by 10 ms, nothing else.
const { existsSync, readFileSync, writeFileSync } = require("node:fs")
const { createRequire, wrap } = require("node:module")
const { Script } = require("node:vm")

const path = `${__dirname}/cli.cjs`
const compiled = `${__dirname}/cli.compiled`

const script = new Script(wrap(readFileSync(path, "utf8")), {
  filename: path,
  cachedData: existsSync(compiled) ? readFileSync(compiled) : undefined,
})
exports.compile = () => process.on("exit", () => writeFileSync(compiled, script.createCachedData()))
exports.run = () => {
  const main = { exports: {} }
  script.runInThisContext()(main.exports, createRequire(path), main, path, __dirname)
}
