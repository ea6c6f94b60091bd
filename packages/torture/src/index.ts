/*
 * Users of the library: torture() on a TorturedBroker or several, and its report.
 */
export { renderJson, renderReport } from "./report.js"
export type { Address, TlsTrust } from "./address.js"
export { StoreServer } from "./store-server.js"
export { TorturedBroker } from "./tortured-broker.js"
export { torture, type TortureOptions, type TortureReport, type TortureShape, type TortureSignal } from "./torture.js"
/*
 * Sister packages: the checker by itself and the actors, for histories of their own.
 */
export { ANOMALY_KINDS, ANOMALY_TITLES, type AnomalyKind } from "./checker/anomaly.js"
export { Checker, type ReceivedCopy, type Verdict } from "./checker/checker.js"
export { checkNumbers } from "./checker/numbers.js"
export type { StoredQos } from "./checker/stream.js"
export { AcknowledgementFile } from "./acknowledgement-file.js"
export { PacketSplitter } from "./packet-splitter.js"
export { acknowledgementPacket, connectPacket, PACKET, packet, publishPacket, subscribePacket, text } from "./packets.js"
export { TorturePublisher } from "./publisher.js"
export { Random } from "./random.js"
export { TortureSubscriber } from "./subscriber.js"
