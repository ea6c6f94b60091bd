/** Environments of LMDB that hold a lock for ever: ending one, by hand or by the garbage collector, would wait for it as long. */
const locked: object[] = []

/** Keeps one, so that nobody ends it. */
export function keepLocked(environment: object): void {
  locked.push(environment)
}

/** Whether the process cannot end by itself: LMDB's binding would wait for a lock. */
export function isLocked(): boolean {
  return locked.length > 0
}
