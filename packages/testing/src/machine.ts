import { cpus, release, totalmem, type } from "node:os"

/** The machine and its Node.js, in one line. */
export function machineLine(): string {
  const model = cpus()[0]?.model ?? "unknown processor"
  const memory = `${Math.round(totalmem() / 2 ** 30)} GB`
  return `Machine: ${model}, ${cpus().length} cores, ${memory}, ${type()} ${/^\d+\.\d+/.exec(release())?.[0] ?? release()}, Node.js ${process.version}, loopback.`
}

/** Where and how the numbers were measured, as lines for a report. */
export function machineLines(rivalVersion: string | undefined, rivalSettings: readonly string[]): string[] {
  const lines = [machineLine(), "Broker and load generator in one process each, payload 64 bytes, MQTT 3.1.1."]
  if (rivalVersion !== undefined) lines.push(`mosquitto ${rivalVersion} with: ${rivalSettings.join("; ")}.`)
  return lines
}
