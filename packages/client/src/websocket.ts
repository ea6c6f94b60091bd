/** MQTT.js' WebSocket stream, in a module of its own so that it is loaded only where it is used. */
export { streamBuilder as websocketStream } from "mqtt/lib/connect/ws"
