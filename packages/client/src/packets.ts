import type { Properties, Qos } from "@mqtt-trio/common"
import type { IConnackPacket } from "./mqtt-library.js"
import type { Ordered } from "./wire.js"

/** One filter of a SUBSCRIBE (MQTT 5.0 section 3.8.3.1). */
export interface Subscription {
  readonly filter: string
  readonly qos: Qos
  readonly noLocal: boolean
  readonly retainAsPublished: boolean
  readonly retainHandling: 0 | 1 | 2
}

export interface PublishOptions {
  readonly qos: Qos
  readonly retain: boolean
  readonly properties?: Properties | undefined
}

/** A CONNACK; its User Properties are pairs. */
export type Connack = Ordered<IConnackPacket>
