/*
 * For users of the library: defaults, errors and exit codes, topics, where a broker is.
 */
export { DEFAULT_HOST, DEFAULT_PORT, DEFAULT_QOS, REGISTERED_PORT } from "./defaults.js"
export { BaseError, CliError, errorReference, ERRORS, messageOf, systemCode, usageError } from "./errors.js"
export { describeTarget, parseTargetUrl, type Target } from "./settings/target.js"
export { bytesOf, exactArguments, exactEnvironment, hasForeignBytes, quoted, textOf } from "./exact-text.js"
export { parseBinary, parseExact, parseHost, parseText } from "./text.js"
export { parseTopicFilter, parseTopicName, splitShare, topicFilterProblem, topicMatches, topicNameProblem } from "./topic.js"

/*
 * For sister packages: how a command reads its options, speaks and ends.
 */
export { createDiagnostics, escapeControls, escapeJson, escapeLine, jsonLine, type Diagnostics, type TextSink } from "./diagnostics.js"
export { runClient, type ClientIo, type ClientStart } from "./run-client.js"
export { runMain } from "./run-main.js"
export { listenForStop } from "./signals.js"
export { isClosedPipe, outputError, writeOut } from "./output.js"
export { integer, oneOf, parseBoolean, parseByteSize, parseDurationMs, parsePort, parseQos, positiveDuration, type Qos } from "./parsers.js"
export {
  flag,
  list,
  longFlag,
  optional,
  shortFlag,
  value,
  type OptionSpec,
  type OptionTable,
  type OptionValues,
} from "./options/option-spec.js"
export { applyOptions, resolveOptions, type OptionSource, type ResolvedOption, type ResolvedOptions } from "./options/apply-options.js"
export { keyOf, type OptionFile } from "./options/option-file.js"
export { normalizeArguments } from "./options/normalize-arguments.js"
export { defaultOf, helpText, optionReference, type CommandHelp } from "./options/help.js"
export { createProgram, refuseOption, runProgram, suggestOption } from "./options/program.js"
export { connectionOptions, parseSessionExpiry, seconds, type ProtocolVersion } from "./settings/connection-options.js"
export {
  mergeProperties,
  packetProperties,
  parseUserProperty,
  propertiesFor,
  type Properties,
  type PropertyArgument,
  type UserProperties,
} from "./settings/properties.js"
export { askPassword, passwordFromFile } from "./settings/password.js"
export { CONNECTION_VERSION_5, checkConnection, checkVersion5Options, passwordShown, urlDecides } from "./settings/rules.js"
export { connectionSettings, passwordAlone, urlOf, type ConnectionSettings } from "./settings/settings.js"
export { pause, startTimer } from "./timers.js"
export { counted, someOf } from "./words.js"
export { SEQUENCE_PROPERTY, stampPayload, unstampPayload } from "./sequence-stamp.js"
export { packageVersion } from "./version.js"
