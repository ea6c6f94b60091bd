import { cpus, release, totalmem, type } from "node:os"

/** Where the numbers were measured, as lines for a report. */
export function machineLines(rivalVersion: string | undefined, rivalSettings: readonly string[]): string[] {
  const model = cpus()[0]?.model ?? "unknown processor"
  const lines = [
    `Machine: ${model}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GB, ${type()} ${release()}, loopback.`,
    `Node.js ${process.version}; broker and load generator in one process each, payload 64 bytes, MQTT 3.1.1.`,
  ]
  if (rivalVersion !== undefined) lines.push(`mosquitto ${rivalVersion} with: ${rivalSettings.join("; ")}.`)
  return lines
}
