/** How many documents, and about how many bytes of messages, go to the server at a time. */
const DOCUMENTS_AT_ONCE = 1000
const BYTES_AT_ONCE = 4 << 20

/** What goes to the server, in as many steps as it takes. `bytesOf`: about how many bytes one has. */
export function* slices<T>(all: Iterable<T>, bytesOf: (one: T) => number): Generator<T[]> {
  let some: T[] = []
  let bytes = 0
  for (const one of all) {
    some.push(one)
    bytes += bytesOf(one)
    if (some.length < DOCUMENTS_AT_ONCE && bytes < BYTES_AT_ONCE) continue
    yield some
    some = []
    bytes = 0
  }
  if (some.length) yield some
}
