/** Where every command looks for a broker, and where `mqtt-broker start` listens, when nothing else is said. */
export const DEFAULT_HOST = "127.0.0.1"

/** The port of the article that this project grew from; MQTT's registered port is {@link REGISTERED_PORT}. */
export const DEFAULT_PORT = 5112

/** Registered ports of MQTT, used when a URL names a host without a port, and to find brokers nearby. */
export const REGISTERED_PORT = 1883
export const REGISTERED_TLS_PORT = 8883

/** QoS of mqtt-pub and mqtt-sub: at least once, as in the article. */
export const DEFAULT_QOS = 1

export const DEFAULT_KEEPALIVE_SECONDS = 60

/** Path of MQTT over WebSocket when the URL has none. */
export const DEFAULT_WEBSOCKET_PATH = "/mqtt"

/** Largest Session Expiry Interval: the session never expires (MQTT 5.0 section 3.1.2.11.2). */
export const NEVER_EXPIRES = 0xffff_ffff
