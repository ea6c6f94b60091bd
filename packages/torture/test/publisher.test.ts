import { once } from "node:events"
import { createServer } from "node:net"
import { join } from "node:path"
import { freePort, temporaryFolder, waitFor } from "@mqtt-trio/testing"
import { expect, onTestFinished, test } from "vitest"
import { AcknowledgementFile } from "../src/acknowledgement-file.js"
import { Checker } from "../src/checker/checker.js"
import { PacketSplitter } from "../src/packet-splitter.js"
import { acknowledgementPacket, PACKET } from "../src/packets.js"
import { TorturePublisher } from "../src/publisher.js"
import { Random } from "../src/random.js"

/** A broker that acknowledges at QoS 1 what it is told to, and the publisher that is connected to it. */
async function connected(acknowledges: (nth: number) => boolean): Promise<{ checker: Checker; publisher: TorturePublisher }> {
  let nth = 0
  const server = createServer((socket) => {
    const splitter = new PacketSplitter()
    socket.on("data", (chunk) =>
      splitter.push(chunk, ({ head, body }) => {
        if (head === 0x10) socket.write(Buffer.from([PACKET.connack, 2, 1, 0]))
        else if ((head & 0xf0) === PACKET.publish && acknowledges(nth++))
          socket.write(acknowledgementPacket(PACKET.puback, body.readUInt16BE(2 + body.readUInt16BE(0))))
      }),
    )
  })
  const port = await freePort()
  await once(server.listen(port, "127.0.0.1"), "listening")
  const checker = new Checker()
  const stream = { id: checker.addStream({ publisher: "p", topic: "t", qos: 1 }), topic: "t", qos: 1 } as const
  const publisher = new TorturePublisher({
    address: { host: "127.0.0.1", port },
    clientId: "p",
    streams: [stream],
    window: 2,
    budget: { remaining: 2 },
    random: new Random(1),
    checker,
    acknowledgements: new AcknowledgementFile(join(temporaryFolder(), "acknowledged")),
  })
  onTestFinished(() => {
    publisher.cut()
    server.close()
  })
  await publisher.come()
  return { checker, publisher }
}

test("what was sent before its broker was replaced may be acknowledged late", async () => {
  const { checker, publisher } = await connected((nth) => nth < 2)
  publisher.publishInVain(3)
  await waitFor(() => publisher.acknowledged === 2, { what: "2 acknowledgements" })
  expect(checker.verdict().anomalies).toEqual([])
})

test("what was sent afterwards may not", async () => {
  const { checker, publisher } = await connected(() => true)
  publisher.publishInVain(3)
  await waitFor(() => publisher.acknowledged === 5, { what: "5 acknowledgements" })
  expect(checker.verdict().anomalies).toMatchObject([{ kind: "outlived", count: 3 }])
})

test("sent again on the next connection, it may be acknowledged", async () => {
  const { checker, publisher } = await connected((nth) => nth >= 5)
  publisher.publishInVain(3)
  await publisher.takeOver()
  await waitFor(() => publisher.acknowledged === 5, { what: "5 acknowledgements" })
  expect(checker.verdict()).toMatchObject({ acknowledged: 5, anomalies: [] })
})
