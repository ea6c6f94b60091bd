import { closeSync, constants, fstatSync, openSync, write } from "node:fs"
import { Socket } from "node:net"
import { isClosedPipe, systemCode } from "@mqtt-trio/common"

const { O_NONBLOCK, O_RDWR, O_WRONLY } = constants
const LOOK_MS = 1000

/** Calls `gone` once when nobody reads any more what goes to the pipe or socket `fd`; no byte is written for that. Returns what ends the watch. */
export function watchReader(fd: number, gone: () => void): () => void {
  const stats = fstatSync(fd)
  if (stats.isFIFO()) return watchPipe(`/proc/self/fd/${fd}`, gone)
  return stats.isSocket() && process.stdout instanceof Socket ? watchSocket(fd, gone) : () => undefined
}

/**
 * Linux reports a pipe without readers to whoever polls its writing end. Node.js polls only what it may read from, and decides that when
 * it takes over a descriptor: so it takes one that may read and write, under whose number the writing end is opened afterwards.
 */
function watchPipe(path: string, gone: () => void): () => void {
  try {
    const number = openSync(path, O_RDWR | O_NONBLOCK)
    const socket = new Socket({ fd: number, readable: true, writable: false })
    closeSync(number)
    // The lowest free number, so the same again; if not, the socket would be about something else and is left alone.
    if (openSync(path, O_WRONLY | O_NONBLOCK) !== number) return () => undefined
    socket.on("error", gone)
    socket.resume()
    socket.unref()
    return () => socket.destroy()
  } catch (error) {
    // ENXIO: a named pipe whose reader left just now. Else: no such path or no right to it, and the next write has to notice.
    if (systemCode(error) === "ENXIO") setImmediate(gone)
    return () => undefined
  }
}

/** A socket whose other end is closed takes not even nothing. */
function watchSocket(fd: number, gone: () => void): () => void {
  const timer = setInterval(() => {
    write(fd, Buffer.alloc(0), 0, 0, null, (error) => {
      if (!isClosedPipe(error)) return
      clearInterval(timer)
      gone()
    })
  }, LOOK_MS)
  timer.unref()
  return () => clearInterval(timer)
}
