import type { Target } from "@mqtt-trio/common"
import type { Arrivals, Entrance } from "../arrivals.js"
import type { Listener } from "../listener.js"
import { type AddressRange, proxyEntrance } from "./proxy-protocol.js"
import { listenTcp } from "./tcp.js"
import type { TlsEntrance, TlsRules } from "./tls.js"
import { listenUnix } from "./unix.js"

/** What the doors of the broker are. */
export interface ListenOptions {
  /** where to listen, at least one */
  readonly targets: readonly Target[]
  /** needed when a target has TLS */
  readonly tls: TlsRules | undefined
  /** pages that may open a WebSocket; empty: all */
  readonly origins: readonly string[]
  /** who connects for others, and says for whom in a PROXY header */
  readonly proxies: readonly AddressRange[]
}

const plain: Entrance = (socket, arrival) => arrival.serve(socket)

/** All doors of the broker. */
export class Listeners {
  private constructor(
    private readonly open: Listener[],
    private readonly tls: TlsEntrance | undefined,
  ) {}

  /** Resolves when connections are accepted everywhere. Throws a BrokerError, and then nobody listens. */
  static async open(options: ListenOptions, arrivals: Arrivals): Promise<Listeners> {
    const tls = options.tls && new (await import("./tls.js")).TlsEntrance(options.tls, arrivals.log)
    const listeners = new Listeners([], tls)
    try {
      // oxlint-disable-next-line no-await-in-loop -- the first that fails is the one that is told
      for (const target of options.targets) listeners.open.push(await listeners.listen(target, options, arrivals))
    } catch (error) {
      listeners.close()
      throw error
    }
    return listeners
  }

  get targets(): Target[] {
    return this.open.map(({ target }) => target)
  }

  /** Reads the files of TLS again. False: there are none. */
  reload(): boolean {
    this.tls?.reload()
    return this.tls !== undefined
  }

  /** Nobody new is accepted. */
  close(): void {
    for (const listener of this.open) listener.close()
    this.tls?.close()
  }

  private async listen(target: Target, { origins, proxies }: ListenOptions, arrivals: Arrivals): Promise<Listener> {
    let entrance: Entrance = plain
    if (target.kind === "unix") return listenUnix(target, (socket) => arrivals.accept(socket, plain))
    const { websocketPath: path, tls } = target
    if (path !== undefined) {
      const { webSocketEntrance } = await import("./websocket.js")
      entrance = webSocketEntrance({ path, origins, packetBytes: arrivals.context.limits.packetBytes })
    }
    if (tls && this.tls) entrance = this.tls.before(entrance)
    const first = proxyEntrance(entrance, proxies)
    return listenTcp(target, (socket) => arrivals.accept(socket, first))
  }
}
