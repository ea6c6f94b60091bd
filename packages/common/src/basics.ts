/*
 * Errors and exact text alone, for modules that are loaded only when they are needed: what they share with the rest of a bundle
 * lies in a file of its own, and that one should be small.
 */
export { CliError, messageOf, usageError } from "./errors.js"
export { bytesOf, quoted } from "./exact-text.js"
