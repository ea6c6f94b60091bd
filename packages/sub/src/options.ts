import {
  connectionOptions,
  DEFAULT_QOS,
  flag,
  integer,
  list,
  oneOf,
  parseExact,
  parseQos,
  parseTopicFilter,
  parseUserProperty,
  positiveDuration,
  quoted,
  usageError,
  value,
} from "@mqtt-trio/common"

const MESSAGES = "Messages"
const OUTPUT = "Output"
const PROPERTIES = "MQTT 5 properties"

/** The options of mqtt-sub: its own, then those of the connection. */
export const subOptions = {
  topic: list({
    flags: "-t, --topic <filter>",
    parse: parseTopicFilter,
    help: "topic filter, like the arguments; may be repeated",
    group: MESSAGES,
  }),
  qos: list({
    flags: "-q, --qos <qos>",
    parse: parseQos,
    help: "for all filters, or one for each in order",
    group: MESSAGES,
    defaultText: String(DEFAULT_QOS),
  }),
  count: value({ flags: "-C, --count <n>", parse: integer("number of messages", 1), help: "end after so many messages", group: MESSAGES }),
  timeout: value({
    flags: "-W, --timeout <time>",
    parse: positiveDuration("s", "timeout"),
    help: "end after this time; exit 27 when nothing (or not --count) came",
    group: MESSAGES,
  }),
  exitAfterSubscribe: flag({ flags: "-E, --exit-after-subscribe", help: "end when the subscriptions are acknowledged", group: MESSAGES }),
  skipRetained: flag({ flags: "-R, --skip-retained", help: "no retained messages", group: MESSAGES }),
  retainedOnly: flag({ flags: "--retained-only", help: "retained messages only; end at the first other one", group: MESSAGES }),
  removeRetained: flag({ flags: "--remove-retained", help: "remove the retained messages that come", group: MESSAGES }),
  filterOut: list({
    flags: "-T, --filter-out <filter>",
    parse: parseTopicFilter,
    help: "leave out these topics; may be repeated",
    group: MESSAGES,
  }),
  unsubscribe: list({
    flags: "-U, --unsubscribe <filter>",
    parse: parseTopicFilter,
    help: "end this subscription of a session; may be repeated",
    group: MESSAGES,
  }),
  randomFilter: value({
    flags: "--random-filter <percent>",
    parse: parsePercent,
    help: "print a random part of the messages",
    group: MESSAGES,
    hidden: true,
    defaultText: "100",
  }),
  retainAsPublished: flag({
    flags: "--retain-as-published",
    help: "leave the retain flag as the publisher set it (MQTT 5)",
    group: MESSAGES,
  }),
  retainHandling: value({
    flags: "--retain-handling <when>",
    parse: oneOf("retain handling", ["always", "new", "never"]),
    help: "send retained messages always, for a new subscription, never",
    group: MESSAGES,
    defaultText: "always",
  }),
  noLocal: flag({ flags: "--no-local", help: "not what this client published itself (MQTT 5)", group: MESSAGES }),
  checkOrder: flag({
    flags: "--check-order",
    help: "check the counters of mqtt-pub --seq; exit 8 on gaps or disorder",
    group: MESSAGES,
  }),

  verbose: flag({ flags: "-v, --verbose", help: "topic before the payload", group: OUTPUT, aliases: ["--show-topics"] }),
  noEol: flag({ flags: "-N, --no-eol", help: "no line feed after a message", group: OUTPUT }),
  format: value({
    flags: "-F, --format <format>",
    parse: parseExact,
    help: "mosquitto_sub's format: '%I %t %p', '@H:@M %j'",
    group: OUTPUT,
  }),
  json: flag({ flags: "--json", help: "one JSON object a line", group: OUTPUT }),
  pretty: flag({ flags: "--pretty", help: "JSON over several lines", group: OUTPUT }),
  hex: flag({ flags: "--hex", help: "payloads in hexadecimal", group: OUTPUT }),
  base64: flag({ flags: "--base64", help: "payloads in base64", group: OUTPUT }),
  raw: flag({ flags: "--raw", help: "exact bytes on a terminal too, control characters and all", group: OUTPUT }),
  ...connectionOptions,
  subscriptionId: value({
    flags: "--subscription-id <n>",
    parse: integer("subscription identifier", 1, 268_435_455),
    help: "subscription identifier",
    group: PROPERTIES,
    aliases: ["--subscription-identifier"],
  }),
  userProperty: list({
    flags: "--user-property <k=v>",
    parse: parseUserProperty,
    help: "user property of the subscription",
    group: PROPERTIES,
    aliases: ["--user-properties"],
  }),
} as const

export const subHelp = {
  name: "mqtt-sub",
  summary: "Subscribes at an MQTT broker and prints what comes.",
  usage: "[topic filter]... [options]",
  examples: [
    ["mqtt-sub test", "the payloads on topic test, a line each"],
    ["mqtt-sub test --client cli_sub --persistent", "misses nothing: what comes while it is away waits for it"],
    ["mqtt-sub '#' -v", "everything, with topics"],
    ["mqtt-sub 'sensors/+' --json -C 10", "ten messages as JSON, then end"],
  ],
  footer: [
    "A message is acknowledged when it has been written out: what was not printed comes again.",
    "Exit codes: 0 done, 2 usage, 3 cannot connect, 4 connection refused, 5 subscription refused, 6 connection lost, 7 output failed, 8 order check failed, 27 timed out, 130 and 143 stopped by a signal before --count.",
  ],
} as const

function parsePercent(text: string): number {
  const percent = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN
  if (!(percent >= 0.1 && percent <= 100)) throw usageError(`random filter ${quoted(text)} is not a percentage from 0.1 to 100`)
  return percent
}
