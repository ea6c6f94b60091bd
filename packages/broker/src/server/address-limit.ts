import { isIPv4 } from "node:net"

/** How many connections come from one address; of IPv6 one /64, since whoever has one of its addresses has them all. */
export class AddressLimit {
  private readonly counts = new Map<string, number>()

  /** @param most connections of one address at a time */
  constructor(readonly most: number) {}

  /** One more; returns what to call when it is gone, or undefined when there are as many as there may be. */
  enter(address: string): (() => void) | undefined {
    const network = networkOf(address)
    const count = this.counts.get(network) ?? 0
    if (count >= this.most) return undefined
    this.counts.set(network, count + 1)
    return () => this.leave(network)
  }

  private leave(network: string): void {
    const count = this.counts.get(network) ?? 0
    if (count > 1) this.counts.set(network, count - 1)
    else this.counts.delete(network)
  }
}

/** An IPv4 address, also one that is mapped into IPv6, or the first 64 bits of an IPv6 address as `2001:db8:0:1::/64`. */
export function networkOf(address: string): string {
  const mapped = /^::ffff:([\d.]+)$/i.exec(address)?.[1] ?? address
  if (isIPv4(mapped)) return mapped
  const [before = "", after] = address.replace(/%.*$/, "").split("::")
  const [first, last] = [groups(before), groups(after ?? "")]
  const zeros = after === undefined ? 0 : Math.max(0, 8 - first.length - last.length)
  return `${[...first, ...Array<string>(zeros).fill("0"), ...last].slice(0, 4).join(":")}::/64`
}

function groups(text: string): string[] {
  return text === "" ? [] : text.split(":")
}
