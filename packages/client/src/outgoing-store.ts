import { Readable } from "node:stream"
import type { IClientOptions } from "./mqtt-library.js"

type Store = NonNullable<IClientOptions["outgoingStore"]>
type Packet = Parameters<Store["put"]>[0]

/**
 * The unacknowledged packets of a publisher, in the order in which they were sent. Unlike MQTT.js' own store it sets DUP on what is
 * sent again [MQTT-3.3.1-1].
 */
export function createOutgoingStore(): Store {
  const packets = new Map<number | undefined, Packet>()
  const store: Store = {
    put(packet, done) {
      packets.set(packet.messageId, packet)
      done()
      return store
    },
    createStream() {
      for (const packet of packets.values()) if (packet.cmd === "publish") packet.dup = true
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- MQTT.js names the type of the readable-stream package; Node's has all that it uses
      return Readable.from([...packets.values()], { objectMode: true }) as unknown as ReturnType<Store["createStream"]>
    },
    del(packet, done) {
      const found = packets.get(packet.messageId)
      packets.delete(packet.messageId)
      if (found === undefined) done(new Error("missing packet"))
      else done(undefined, found)
      return store
    },
    get(packet, done) {
      const found = packets.get(packet.messageId)
      if (found === undefined) done(new Error("missing packet"))
      else done(undefined, found)
      return store
    },
    close(done) {
      packets.clear()
      done()
    },
  }
  return store
}
