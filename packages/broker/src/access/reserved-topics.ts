/** What a bridge of mosquitto tells about its connection, retained and as a Will. */
const BRIDGE_STATE = /^\$SYS\/broker\/connection\/[^/]+\/state$/

/** Whether clients may not publish to the Topic Name: `$SYS` is the broker's (MQTT 5.0 section 4.7.2). */
export function isReserved(topic: string): boolean {
  return (topic === "$SYS" || topic.startsWith("$SYS/")) && !BRIDGE_STATE.test(topic)
}
