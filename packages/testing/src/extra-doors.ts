import { readFileSync } from "node:fs"
import { type Certificates, makeCertificates } from "./certificates.js"
import { freePort } from "./free-port.js"
import { temporaryFolder } from "./temporary.js"

/** The kinds of listeners that MQTT_TEST_DOOR may name. */
const KINDS = ["mqtts", "ws", "wss"] as const

/** A listener of a test's broker beside its plain port. */
export interface Door {
  /** `mqtts://127.0.0.1:PORT`, `ws://127.0.0.1:PORT/mqtt`, … */
  readonly url: string
  /** The authority of its certificate, in PEM. */
  readonly ca: Buffer | undefined
}

const doors = new Map<number, Door>()

/**
 * The listener that stands for the plain port of a broker of this process when MQTT_TEST_DOOR is mqtts, ws or wss: so suites that
 * send packets to a port send them through that door. `undefined` without the variable, and for every other port.
 */
export function doorOf(port: number): Door | undefined {
  return doors.get(port)
}

/** The listeners beside the plain port, for `tls` and for MQTT_TEST_DOOR; a restarted broker has them on the same ports. */
export class ExtraDoors {
  readonly certificates: Certificates | undefined

  private constructor(
    private readonly tls: boolean,
    private readonly kinds: readonly string[],
    private readonly ports: readonly number[],
  ) {
    this.certificates = this.kinds.some((kind) => kind !== "ws") ? makeCertificates(temporaryFolder()) : undefined
  }

  static async choose(tls: boolean): Promise<ExtraDoors> {
    const chosen = chosenKind()
    const kinds = [...(tls ? ["mqtts"] : []), ...(chosen === undefined ? [] : [chosen])]
    return new ExtraDoors(tls, kinds, await Promise.all(kinds.map(freePort)))
  }

  /** Arguments of `mqtt-broker start`, behind all others. */
  get args(): string[] {
    const { certificates } = this
    const listen = this.kinds.flatMap((kind, index) => ["--listen", `${kind}://127.0.0.1:${this.ports[index]}`])
    return certificates ? [...listen, "--tls-cert", certificates.serverCert, "--tls-key", certificates.serverKey] : listen
  }

  /** The broker listens at `urls`, the last of which are these. Returns the one of `tls`. */
  opened(port: number, urls: readonly string[]): string | undefined {
    const own = this.kinds.length > 0 ? urls.slice(-this.kinds.length) : []
    const chosen = own.at(-1)
    if (chosen !== undefined && chosenKind() !== undefined)
      doors.set(port, { url: chosen, ca: this.certificates && readFileSync(this.certificates.ca) })
    return this.tls ? own[0] : undefined
  }
}

function chosenKind(): string | undefined {
  const name = process.env["MQTT_TEST_DOOR"] ?? ""
  if (name === "" || name === "mqtt") return undefined
  if (!KINDS.some((kind) => kind === name)) throw new Error(`MQTT_TEST_DOOR is "${name}", not one of mqtt, ${KINDS.join(", ")}`)
  return name
}
