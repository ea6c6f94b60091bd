/** The one door to MQTT.js: only its client class is loaded, not its connection builders. */
import library from "mqtt/lib/client"
import { keepUserPropertiesInOrder } from "./wire.js"

keepUserPropertiesInOrder()

export type { IClientOptions, IConnackPacket, IPublishPacket, IStream, Packet } from "mqtt"
export const MqttClient = library.default
export type MqttClient = InstanceType<typeof MqttClient>
