import { describe, expect, it } from "vitest"
import { stampPayload } from "@mqtt-trio/common"
import type { ReceivedMessage } from "@mqtt-trio/client"
import { OrderCheck } from "../src/order-check.js"

function message(publisher: string, n: number, more: Partial<ReceivedMessage> = {}): ReceivedMessage {
  const properties: ReceivedMessage["properties"] = { userProperties: [["mqtt-seq", `${publisher} ${n}`]] }
  return { topic: "t", payload: Buffer.from("x"), qos: 1, retain: false, dup: false, messageId: 1, properties, ...more }
}

function check(messages: readonly ReceivedMessage[]): OrderCheck {
  const order = new OrderCheck()
  for (const one of messages) order.take(one)
  return order
}

describe("OrderCheck", () => {
  it("is content with what is in order, whatever it starts with, for each publisher and topic on its own", () => {
    const order = check([
      message("a", 5),
      message("b", 1),
      message("a", 6),
      message("a", 1, { topic: "u" }),
      message("b", 2),
      message("a", 2, { topic: "u" }),
    ])
    order.verify()
    expect(order.checked).toBe(6)
  })

  it("counts what is missing, and what comes late as out of order instead", () => {
    const gap = check([1, 2, 6].map((n) => message("a", n)))
    expect([gap.gaps, gap.disorder]).toEqual([3, 0])
    expect(() => gap.verify()).toThrow("3 missing")
    const late = check([1, 4, 2, 3].map((n) => message("a", n)))
    expect([late.gaps, late.disorder]).toEqual([0, 2])
    expect(() => late.verify()).toThrow("2 out of order")
  })

  it("a repeat is allowed at QoS 1 and a fault at QoS 2", () => {
    const allowed = check([1, 2, 1, 2, 3].map((n) => message("a", n)))
    allowed.verify()
    expect(allowed.repeats).toBe(2)
    expect(() => check([1, 2, 2].map((n) => message("a", n, { qos: 2 }))).verify()).toThrow("1 duplicate,")
  })

  it("takes the stamp out of a payload, and lets what has none pass", () => {
    const order = new OrderCheck()
    const plain = message("a", 1, { properties: undefined, payload: Buffer.from("[mqtt-seq x] y") })
    expect(order.take(plain)).toBe(plain)
    const stamped = { ...plain, payload: stampPayload("ab12 1", Buffer.from([0xff, 0])) }
    expect(order.take(stamped).payload).toEqual(Buffer.from([0xff, 0]))
    expect([order.checked, order.unstamped]).toEqual([1, 1])
  })
})
