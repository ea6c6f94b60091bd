export { MqttClient } from "mqtt"
