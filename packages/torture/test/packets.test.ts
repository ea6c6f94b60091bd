import * as fc from "fast-check"
import { expect, test } from "vitest"
import { PacketSplitter, type RawPacket } from "../src/packet-splitter.js"
import { payloadOf, publishPacket, readPayload } from "../src/packets.js"

test("packets come out whole however the stream is cut", () => {
  const cuts = fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1 })
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 1000 }), { maxLength: 30 }), cuts, (numbers, sizes) => {
      const stream = Buffer.concat(
        numbers.map((n) => publishPacket({ topic: "a/b", qos: 1, dup: false, packetId: n + 1, payload: payloadOf(3, n) })),
      )
      const packets: RawPacket[] = []
      const splitter = new PacketSplitter()
      for (let offset = 0, k = 0; offset < stream.length; k++) {
        const end = offset + (sizes[k % sizes.length] ?? 1)
        splitter.push(stream.subarray(offset, end), (packet) => packets.push(packet))
        offset = end
      }
      expect(packets.map(({ body }) => readPayload(body.subarray(7)))).toEqual(numbers.map((n) => ({ stream: 3, n, intact: true })))
    }),
  )
})

test("a payload that was cut or changed is not intact", () => {
  const payload = payloadOf(1, 2)
  expect(readPayload(payload)).toEqual({ stream: 1, n: 2, intact: true })
  expect(readPayload(payload.subarray(0, -1))?.intact).toBe(false)
  expect(readPayload(Buffer.from("a stranger's message"))).toBeUndefined()
})

test("a Remaining Length of five bytes is refused", () => {
  expect(() => new PacketSplitter().push(Buffer.from([0x30, 255, 255, 255, 255, 1]), () => {})).toThrow(RangeError)
})
