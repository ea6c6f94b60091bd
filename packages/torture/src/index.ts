/*
 * Users of the library: torture() on a Target, and its report.
 */
export { renderJson, renderReport } from "./report.js"
export type { Address } from "./raw-connection.js"
export { Target, type TortureSignal } from "./target.js"
export { torture, type TortureReport, type TortureShape } from "./torture.js"
/*
 * Sister packages: the checker by itself and the actors, for histories of their own.
 */
export { ANOMALY_KINDS, ANOMALY_TITLES, type Anomaly, type AnomalyKind } from "./checker/anomaly.js"
export type { GrantedFilter } from "./checker/checked-session.js"
export { Checker, type Delivery, type Verdict } from "./checker/checker.js"
export { checkNumbers, type NumberedHistory } from "./checker/numbers.js"
export type { StoredQos, StreamDefinition } from "./checker/stream.js"
export { AcknowledgementFile } from "./acknowledgement-file.js"
export { PacketSplitter } from "./packet-splitter.js"
export { acknowledgementPacket, connectPacket, PACKET, publishPacket, subscribePacket } from "./packets.js"
export { Publisher } from "./publisher.js"
export { Random } from "./random.js"
export { Subscriber } from "./subscriber.js"
