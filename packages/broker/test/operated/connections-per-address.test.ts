import { connect as connectTcp, type Socket } from "node:net"
import { startBroker, waitFor } from "@mqtt-trio/testing"
import { describe, expect, test } from "vitest"
import { networkOf } from "../../src/server/address-limit.js"
import { logged, startDoors } from "../support/doors.js"
import { range } from "../support/messages.js"
import { Peer } from "../support/peer.js"
import { connect } from "../support/wire.js"

describe("what counts as one address", () => {
  test.each([
    ["192.0.2.1", "192.0.2.1"],
    ["::ffff:192.0.2.1", "192.0.2.1"],
    ["2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64"],
    ["2001:db8:0:1::5", "2001:db8:0:1::/64"],
    ["2001:db8::1:2:3:4:5", "2001:db8:0:1::/64"],
    ["2001:db8::5", "2001:db8:0:0::/64"],
    ["2001::2:3:4:5:6:7", "2001:0:2:3::/64"],
    ["::1", "0:0:0:0::/64"],
    ["::", "0:0:0:0::/64"],
    ["1::", "1:0:0:0::/64"],
    ["::2:3:4:5:6:7:8", "0:2:3:4::/64"],
    ["fe80::1:2:3:4%eth0", "fe80:0:0:0::/64"],
    ["64:ff9b::192.0.2.1", "64:ff9b:0:0::/64"],
  ])("%s: %s", (address, network) => {
    expect(networkOf(address)).toBe(network)
  })
})

/** A connection from an address of this machine. */
function from(port: number, localAddress: string): Socket {
  return connectTcp({ port, host: "127.0.0.1", localAddress, noDelay: true })
}

test("one more than may be is closed at once, others go on; who leaves makes room", async () => {
  const { broker, port, open } = await startDoors(["--max-connections-per-address", "2"])
  const [first, second] = [await Peer.connected(from(broker.port, "127.0.0.2"), 4), new Peer(from(port("mqtts"), "127.0.0.2"), 4)]
  const others = await Promise.all((["mqtt", "wss"] as const).map(async (kind) => Peer.connected(open(kind), 4)))
  for (const kind of ["mqtt", "mqtts", "ws", "wss"] as const) {
    const third = new Peer(from(port(kind), "127.0.0.2"), 4)
    third.send(connect(4))
    expect(await third.ended()).toEqual([])
    for (const other of others) expect(await other.settled()).toEqual([])
  }
  await logged(
    broker,
    /127\.0\.0\.2:\d+ was closed: there are 2 connections from its address, and --max-connections-per-address allows no more/,
  )
  expect([await first.settled(), second.closed]).toEqual([[], false])
  second.cut()
  await waitFor(
    async () =>
      Peer.connected(from(broker.port, "127.0.0.2"), 4).then(
        (peer) => peer.settled(),
        () => false,
      ),
    { what: "room" },
  )
  for (const _ of range(1, 5)) await (await Peer.connected(open("mqtt+unix"), 4)).settled()
})

function headerOf(source: string): string {
  return source === "UNKNOWN" ? "PROXY UNKNOWN" : `PROXY ${source} ${source.split(" ")[1]} 1 2`
}

test("those of a proxy count for who is behind it, in IPv6 for a /64; what it sends for itself does not count", async () => {
  const args = ["--max-connections-per-address", "1", "--proxy-protocol", "127.0.0.1"]
  const { port } = await startBroker({ store: "memory:", args })
  const send = (header: string): Peer => {
    const peer = new Peer(port, 4)
    peer.send(Buffer.from(`${header}\r\n`), connect(4))
    return peer
  }
  const taken = ["TCP4 192.0.2.1", "TCP4 192.0.2.2", "TCP6 2001:db8:0:1::1", "TCP6 2001:db8:0:2::1", "UNKNOWN", "UNKNOWN", "UNKNOWN"]
  const peers = taken.map((source) => send(headerOf(source)))
  for (const peer of peers) expect((await peer.next())[3]).toBe(0)
  for (const source of ["TCP4 192.0.2.1", "TCP6 2001:db8:0:1:ffff::2", "TCP6 ::ffff:192.0.2.2"])
    expect(await send(headerOf(source)).ended()).toEqual([])
  for (const peer of peers) expect(await peer.settled()).toEqual([])
})

test("a flood of them is a few lines a second", async () => {
  const broker = await startBroker({ store: "memory:", args: ["--max-connections-per-address", "1"] })
  await Peer.connected(broker.port, 4)
  const refused = range(1, 300).map(() => new Peer(broker.port, 4))
  for (const peer of refused) await peer.ended()
  await logged(broker, "--max-connections-per-address allows no more")
  expect(broker.stderr.match(/allows no more/g)?.length).toBeLessThan(100)
})

test("without it there is no limit", async () => {
  const { port } = await startBroker({ store: "memory:" })
  const peers = await Promise.all(range(1, 100).map(async () => Peer.connected(port, 4)))
  for (const peer of peers) expect(await peer.settled()).toEqual([])
})
