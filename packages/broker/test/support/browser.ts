import { createHash, X509Certificate } from "node:crypto"
import { readFileSync } from "node:fs"
import { createServer } from "node:http"
import { createRequire } from "node:module"
import { onCleanUp, temporaryFolder } from "@mqtt-trio/testing"
import { chromium, type BrowserContext, type Page } from "playwright-core"

const LIBRARY = createRequire(import.meta.url).resolve("mqtt/dist/mqtt.min")
const PAGE = new URL("browser-page.html", import.meta.url)
/** Where Debian has it. */
export const CHROMIUM = "/usr/bin/chromium"

/** A message as the page got it; `sum` is that of all bytes modulo 65521. */
export interface PageMessage {
  topic: string
  text: string
  sum: number
  qos: number
  retain: boolean
}

/** Headless Chromium, its profile empty; it trusts the certificate as if its authority were installed. */
export async function startBrowser(certificate: string): Promise<BrowserContext> {
  const key = new X509Certificate(readFileSync(certificate)).publicKey.export({ type: "spki", format: "der" })
  const trusted = createHash("sha256").update(key).digest("base64")
  const context = await chromium.launchPersistentContext(temporaryFolder(), {
    executablePath: CHROMIUM,
    args: ["--no-sandbox", `--ignore-certificate-errors-spki-list=${trusted}`],
  })
  onCleanUp(() => context.close())
  return context
}

/** Serves a page with MQTT.js on a free port of 127.0.0.1, and returns its origin. */
export async function servePage(): Promise<string> {
  const server = createServer((request, response) => {
    const script = request.url === "/mqtt.js"
    response.writeHead(200, { "Content-Type": script ? "text/javascript" : "text/html" })
    response.end(readFileSync(script ? LIBRARY : PAGE))
  })
  onCleanUp(() => {
    server.close()
    server.closeAllConnections()
  })
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve)
  })
  const address = server.address()
  return `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`
}

/** The page with MQTT.js, ready for what browser-page.html offers. */
export class MqttPage {
  private constructor(private readonly page: Page) {}

  static async open(browser: BrowserContext, origin: string): Promise<MqttPage> {
    const page = await browser.newPage()
    await page.goto(origin)
    return new MqttPage(page)
  }

  /** Connects and resolves with Session Present; rejects when the connection is not made. */
  connect(url: string, options: Readonly<Record<string, unknown>> = {}): Promise<boolean> {
    return this.call("start", url, options)
  }

  /** The granted QoS. */
  subscribe(filter: string, qos: number): Promise<number[]> {
    return this.call("subscribe", filter, qos)
  }

  /** Resolves when the broker has acknowledged it to the end. */
  publish(topic: string, text: string, qos: number): Promise<void> {
    return this.call("publish", topic, text, qos)
  }

  publishBytes(topic: string, count: number, qos: number): Promise<void> {
    return this.call("publishBytes", topic, count, qos)
  }

  /** All messages, as soon as there are so many. */
  arrived(count: number): Promise<PageMessage[]> {
    return this.call("arrived", count)
  }

  /** Everything that the page had is gone, the connection too. */
  async reload(): Promise<void> {
    await this.page.reload()
  }

  private call<T>(name: string, ...args: unknown[]): Promise<T> {
    return this.page.evaluate<T>(`${name}(${args.map((one) => JSON.stringify(one)).join(", ")})`)
  }
}
