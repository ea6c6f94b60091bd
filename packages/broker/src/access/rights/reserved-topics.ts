/** What a bridge of mosquitto says about itself: below `$SYS`, and still its own to publish. */
const BRIDGE_STATE = /^\$SYS\/broker\/connection\/[^/]*\/state$/

/** Whether only the broker publishes to the Topic Name: `$SYS/#`, but for the state of bridges. Whatever the rules say. */
export function isReserved(topic: string): boolean {
  return (topic === "$SYS" || topic.startsWith("$SYS/")) && !BRIDGE_STATE.test(topic)
}
