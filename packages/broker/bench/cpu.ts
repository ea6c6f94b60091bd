import { readFileSync } from "node:fs"

/** Linux counts CPU time in ticks of 10 ms in /proc. */
const TICK_MS = 10

/** CPU time that a process has used, in milliseconds; includes the kernel's work for it. */
export function processCpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS
}

/** CPU time that this process, the generator, has used, in milliseconds. */
export function generatorCpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** CPU time that all processes of the machine have used, in milliseconds. */
export function machineCpuMs(): number {
  const [, user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = readFileSync("/proc/stat", "utf8").split(/\s+/, 8).map(Number)
  return (user + nice + system + irq + softirq) * TICK_MS
}
