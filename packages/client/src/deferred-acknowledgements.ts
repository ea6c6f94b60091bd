import type { MqttClient } from "./mqtt-library.js"

type Send = (packet: { readonly cmd: string }, ...more: unknown[]) => unknown

/**
 * Keeps PUBACK, PUBREC and PUBCOMP back until the messages they acknowledge have been written out, so that MQTT.js can go on reading
 * meanwhile: `handleMessage` alone would stop it for each message. What is kept back dies with its network connection; the broker sends
 * those messages again.
 */
export class DeferredAcknowledgements {
  private deliveredCount = 0
  private writtenCount = 0
  private deferred: { readonly after: number; readonly packet: { readonly cmd: string } }[] = []
  private readonly send: Send

  /** Takes over the sending of `client`: the method is not public in MQTT.js, whose version is therefore pinned. */
  constructor(client: MqttClient) {
    const original: unknown = Reflect.get(client, "_sendPacket")
    if (typeof original !== "function") throw new Error("MQTT.js has no _sendPacket any more")
    this.send = (packet, ...more) => Reflect.apply(original, client, [packet, ...more])
    Reflect.set(client, "_sendPacket", (packet: { readonly cmd: string }, done?: unknown, ...more: unknown[]): unknown => {
      if (this.writtenCount >= this.deliveredCount || !isAcknowledgement(packet.cmd)) return this.send(packet, done, ...more)
      this.deferred.push({ after: this.deliveredCount, packet })
      return typeof done === "function" ? Reflect.apply(done, undefined, []) : undefined
    })
  }

  /** One more message was handed over; acknowledgements from now on wait for it. */
  delivered(): void {
    this.deliveredCount++
  }

  /** The first `count` messages are written out: their acknowledgements may leave. */
  written(count: number): void {
    this.writtenCount = count
    const due = this.deferred.findIndex((one) => one.after > count)
    for (const { packet } of this.deferred.splice(0, due === -1 ? this.deferred.length : due)) this.send(packet)
  }

  /** The network connection is gone, and with it what was to be acknowledged on it. */
  forget(): void {
    this.deferred = []
  }
}

function isAcknowledgement(cmd: string): boolean {
  return cmd === "puback" || cmd === "pubrec" || cmd === "pubcomp"
}
