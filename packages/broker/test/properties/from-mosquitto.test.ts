import { flag, oneOf, type OptionTable, value } from "@mqtt-trio/common"
import { expect, test } from "vitest"
import { fromMosquitto, START_OPTIONS } from "./subjects.js"

const CONF = [
  "listener 8883",
  "certfile c",
  "keyfile k",
  "cafile a",
  "require_certificate true",
  "use_identity_as_username true",
  "acl_file r",
]
const LISTENER = { listen: ["mqtts://[::]:8883"], "tls-cert": "c", "tls-key": "k", "tls-ca": "a", "tls-require-cert": true }
const CLOSED = "no counterpart: without it nobody is let in; see anonymous"
const spec = { flags: "--tls-user <what>", help: "", group: "TLS" }
const { passwordFile: _users, aclFile: _rights, ...older } = START_OPTIONS

const withoutUser = Object.fromEntries(Object.entries(START_OPTIONS).filter(([, { flags }]) => !flags.startsWith("--tls-user")))

/** Options that there may be or not, and what becomes of the lines about them. */
test.each<[what: string, table: OptionTable, more: string[], expected: object, left: string[]]>([
  ["a flag", { ...withoutUser, user: flag({ ...spec, flags: "--tls-user" }) }, [], { "tls-user": true, "acl-file": "r" }, []],
  ["a choice", { ...withoutUser, user: value({ ...spec, parse: oneOf("x", ["cn"]) }) }, [], { "tls-user": "cn", "acl-file": "r" }, []],
  [
    "a choice without it",
    { ...withoutUser, user: value({ ...spec, parse: oneOf("x", ["san"]) }) },
    [],
    { "acl-file": "r" },
    [`6: use_identity_as_username: ${CLOSED}`],
  ],
  ["no option", withoutUser, [], { "acl-file": "r" }, [`6: use_identity_as_username: ${CLOSED}`]],
  [
    "no option for users and rights: nobody is let in",
    older,
    ["allow_anonymous true", "password_file p"],
    {},
    [`7: acl_file: ${CLOSED}`, "9: password_file: no counterpart"],
  ],
])("names from certificates, users and rights: %s", (...[, table, more, expected, left]) => {
  const lines = [...CONF, ...more].map((text, index) => {
    const [name = "", value = ""] = text.split(" ")
    return { at: `${index + 1}`, name, value }
  })
  const converted = fromMosquitto(lines, table)
  expect(converted.values).toEqual({ ...LISTENER, ...expected, store: "memory:" })
  expect(converted.left.filter((line) => !/^6: .*no counterpart$/.test(line))).toEqual(left)
})
