/** Session Expiry Interval that means never (MQTT 5.0 section 3.1.2.11.2). */
const NEVER_SECONDS = 0xffff_ffff

/** A Session Expiry Interval of a packet in seconds; null: the Session never expires. */
export function sessionExpiry(seconds: number): number | null {
  return seconds === NEVER_SECONDS ? null : seconds
}
