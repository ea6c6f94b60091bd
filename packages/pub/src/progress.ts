import type { Publisher } from "./publisher.js"

const INTERVAL_MS = 250

/** A line on a terminal's stderr that counts what was sent and acknowledged while people wait. Returns what ends and clears it. */
export function showProgress(publisher: Publisher, wanted: boolean): () => void {
  if (!wanted || !process.stderr.isTTY) return () => undefined
  const start = performance.now()
  const timer = setInterval(() => {
    const perSecond = Math.round(publisher.acknowledged / ((performance.now() - start) / 1000))
    const text = `${publisher.sent.toLocaleString("en")} sent, ${publisher.acknowledged.toLocaleString("en")} acknowledged, ${perSecond.toLocaleString("en")}/s`
    process.stderr.write(`\r${text}\u001b[K`)
  }, INTERVAL_MS)
  return () => {
    clearInterval(timer)
    process.stderr.write("\r\u001b[K")
  }
}
