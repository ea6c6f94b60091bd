/** What is wrong with the messages that came, in words; undefined when they are those that were expected, in order. */
export function problemWith(received: readonly string[], expected: readonly string[]): string | undefined {
  const missing = expected.filter((message) => !received.includes(message))
  if (missing.length > 0) return `missing: ${missing.join(", ")}`
  const more = received.length - expected.length
  if (more > 0) return `${more} more than were published`
  const index = received.findIndex((message, n) => message !== expected[n])
  if (index >= 0) return `out of order from message ${index + 1} on: ${received.slice(index).join(", ")}`
  return undefined
}
