import type { TestBroker } from "@mqtt-trio/testing"
import { expect } from "vitest"
import { Peer } from "./peer.js"

/** The process that was started first has not ended, and answers. */
export async function expectAlive(broker: TestBroker): Promise<void> {
  await (await Peer.connected(broker.port, 4)).settled()
  expect(broker.running).toBe(true)
}
