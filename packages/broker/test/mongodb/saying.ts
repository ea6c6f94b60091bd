import type { TestBroker } from "@mqtt-trio/testing"
import { publishAll } from "../support/stored.js"

export const texts = (from: number, to: number): string[] => Array.from({ length: to - from + 1 }, (_, n) => `Hello mqtt ${from + n}`)

/** Publishes texts at QoS 1; resolves when all is acknowledged. */
export async function say(broker: TestBroker, topic: string, said: readonly string[]): Promise<void> {
  await publishAll(
    broker.port,
    said.map((text) => ({ topic, payload: Buffer.from(text) })),
  )
}
