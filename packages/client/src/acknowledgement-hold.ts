import type { MqttClient } from "./mqtt-library.js"

type Send = (packet: { readonly cmd: string }, ...more: unknown[]) => unknown

/**
 * Holds back PUBACK, PUBREC and PUBCOMP until the messages they acknowledge have been written out, so that MQTT.js can go on reading
 * meanwhile: `handleMessage` alone would stop it for each message. What is held dies with its network connection; the broker sends
 * those messages again.
 */
export class AcknowledgementHold {
  #delivered = 0
  #written = 0
  #held: { readonly after: number; readonly packet: { readonly cmd: string } }[] = []
  readonly #send: Send

  /** Takes over the sending of `client`: the method is not public in MQTT.js, whose version is therefore pinned. */
  constructor(client: MqttClient) {
    const original: unknown = Reflect.get(client, "_sendPacket")
    if (typeof original !== "function") throw new Error("MQTT.js has no _sendPacket any more")
    this.#send = (packet, ...more) => Reflect.apply(original, client, [packet, ...more])
    Reflect.set(client, "_sendPacket", (packet: { readonly cmd: string }, done?: unknown, ...more: unknown[]): unknown => {
      if (this.#written >= this.#delivered || !isAcknowledgement(packet.cmd)) return this.#send(packet, done, ...more)
      this.#held.push({ after: this.#delivered, packet })
      return typeof done === "function" ? Reflect.apply(done, undefined, []) : undefined
    })
  }

  /** One more message was handed over; acknowledgements from now on wait for it. */
  delivered(): void {
    this.#delivered += 1
  }

  /** The first `count` messages are written out: their acknowledgements may leave. */
  written(count: number): void {
    this.#written = count
    const due = this.#held.findIndex((held) => held.after > count)
    for (const { packet } of this.#held.splice(0, due === -1 ? this.#held.length : due)) this.#send(packet)
  }

  /** The network connection is gone, and with it what was to be acknowledged on it. */
  forget(): void {
    this.#held = []
  }
}

function isAcknowledgement(cmd: string): boolean {
  return cmd === "puback" || cmd === "pubrec" || cmd === "pubcomp"
}
