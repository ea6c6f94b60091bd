export { Connection, type Connack, type ConnectionHandlers, type PublishOptions, type Subscription } from "./connection.js"
export type { ReceivedMessage } from "./message-inlet.js"
export { openConnection, type OpenOptions } from "./open-connection.js"
export { reasonText, refusedRequest } from "./refusals.js"
