/** What takes bytes: as much of a stream as Output needs. */
export interface ByteSink {
  readonly writable: boolean
  /** bytes that were taken and not handed to the operating system yet */
  readonly writableLength: number
  write(bytes: Uint8Array): boolean
  /** What is written until uncork() leaves together. */
  cork(): void
  uncork(): void
}

/** A network connection as a listener hands it over: a socket of node:net or node:tls, or what behaves like one. */
export interface ByteStream extends ByteSink {
  on(event: "data", listener: (chunk: Buffer) => void): unknown
  /** So many bytes came of something that is given on when it is whole. */
  on(event: "gathered", listener: (bytes: number) => void): unknown
  on(event: "drain" | "close", listener: () => void): unknown
  on(event: "error", listener: (error: Error) => void): unknown
  /** The client's CONNECT was accepted: from now on it may send more at a time, where that matters. */
  admitted?(): void
  pause(): unknown
  resume(): unknown
  /** Takes bytes back while it is paused: they come again, before everything else, and the end of the stream behind them. */
  unshift(bytes: Buffer): unknown
  end(): unknown
  destroy(): unknown
}
