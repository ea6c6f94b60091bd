import type { Move } from "./possibilities.js"

/** Does something that the models know as `moves`, the last of them when all of it was done; when the broker dies in it, any. */
export type Attempt = (work: () => Promise<void>, moves: () => readonly Move[]) => Promise<void>

export function nothing(): void {}
