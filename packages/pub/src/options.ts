import {
  connectionOptions,
  DEFAULT_QOS,
  flag,
  integer,
  list,
  parseBinary,
  parseDurationMs,
  parseExact,
  parseQos,
  parseText,
  parseTopicName,
  parseUserProperty,
  positiveDuration,
  seconds,
  value,
  type Qos,
} from "@mqtt-trio/common"

const MESSAGE = "Message"
const PACE = "Pace"
const PROPERTIES = "MQTT 5 properties"

/** The options of mqtt-pub: its own, then those of the connection. */
export const pubOptions = {
  topic: value({ flags: "-t, --topic <topic>", parse: parseExact, help: "topic, instead of the first argument", group: MESSAGE }),
  message: value({
    flags: "-m, --message <text>",
    parse: parseExact,
    mayBeEmpty: true,
    help: "payload, instead of the second argument",
    group: MESSAGE,
  }),
  file: value({
    flags: "-f, --file <file>",
    parse: parseExact,
    help: "payload from a file, or from stdin (-)",
    group: MESSAGE,
    aliases: ["--message-file", "--file-read"],
  }),
  stdinFile: flag({ flags: "-s, --stdin-file", help: "payload from stdin, all of it", group: MESSAGE, aliases: ["--stdin"] }),
  stdinLine: flag({
    flags: "-l, --stdin-line",
    help: "a message for each line of stdin",
    group: MESSAGE,
    aliases: ["--multiline", "--lines"],
  }),
  nullMessage: flag({ flags: "-n, --null-message", help: "an empty payload", group: MESSAGE }),
  qos: value<Qos>({
    flags: "-q, --qos <qos>",
    parse: parseQos,
    help: "0 at most once, 1 at least once, 2 exactly once",
    group: MESSAGE,
    fallback: DEFAULT_QOS,
    defaultText: String(DEFAULT_QOS),
  }),
  retain: flag({ flags: "-r, --retain", help: "the broker keeps it for later subscribers", group: MESSAGE }),
  template: flag({
    flags: "--template",
    help: "fill in {{n}} {{iso}} {{unix}} {{uuid}} {{randInt a b}} {{env X}} {{line}}",
    group: MESSAGE,
  }),
  seq: flag({ flags: "--seq", help: "stamp a counter that mqtt-sub --check-order checks", group: MESSAGE }),
  interval: value({
    flags: "--interval <time>",
    parse: positiveDuration("ms", "interval"),
    help: "publish again and again (milliseconds, or 10s, 5m); prints the number",
    group: PACE,
  }),
  repeat: value({
    flags: "--repeat <n>",
    parse: integer("number of messages", 1),
    help: "publish so many times",
    group: PACE,
    aliases: ["--count"],
    defaultText: "1, with --interval no end",
  }),
  repeatDelay: value({
    flags: "--repeat-delay <time>",
    parse: (text) => parseDurationMs(text, "s", "repeat delay"),
    help: "pause between repeats (seconds, or 500ms)",
    group: PACE,
  }),
  maxInflight: value({
    flags: "-M, --max-inflight <n>",
    parse: integer("max inflight", 1, 65_535),
    help: "messages on the way without an acknowledgement",
    group: PACE,
    fallback: 1000,
  }),
  ...connectionOptions,
  userProperty: list({
    flags: "--user-property <k=v>",
    parse: parseUserProperty,
    help: "user property",
    group: PROPERTIES,
    aliases: ["--user-properties"],
  }),
  expiry: value({
    flags: "--expiry <time>",
    parse: seconds("expiry"),
    help: "the broker drops the message after this time",
    group: PROPERTIES,
    aliases: ["--message-expiry-interval"],
  }),
  contentType: value({ flags: "--content-type <type>", parse: parseText, mayBeEmpty: true, help: "content type", group: PROPERTIES }),
  responseTopic: value({ flags: "--response-topic <topic>", parse: parseTopicName, help: "where to answer", group: PROPERTIES }),
  correlationData: value({
    flags: "--correlation-data <text>",
    parse: parseBinary,
    mayBeEmpty: true,
    help: "what the answer refers to",
    group: PROPERTIES,
  }),
  payloadFormat: flag({
    flags: "--payload-format",
    help: "say that the payload is UTF-8 text",
    group: PROPERTIES,
    aliases: ["--payload-format-indicator"],
  }),
  topicAlias: value({ flags: "--topic-alias <n>", parse: integer("topic alias", 1, 65_535), help: "topic alias", group: PROPERTIES }),
} as const

export const pubHelp = {
  name: "mqtt-pub",
  summary: "Publishes messages to an MQTT broker.",
  usage: "[topic] [message] [options]",
  examples: [
    ['mqtt-pub test "Hello"', "one message; done when the broker has it"],
    ['mqtt-pub test "Hello mqtt {{n}}" --template --interval 1000', "a numbered message each second"],
    ["seq 1000 | mqtt-pub test -l", "a message for each line"],
  ],
  footer: [
    "Exit codes: 0 done, 2 usage, 3 cannot connect, 4 connection refused, 5 publish refused, 6 connection lost, 7 output failed, 130 and 143 stopped by a signal before everything was acknowledged.",
  ],
} as const
