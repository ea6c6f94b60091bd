/** Something in a DueQueue. */
export interface Due<T> {
  /** when it is due */
  readonly at: number
  readonly item: T
  /** its place in the queue; the queue's own */
  place: number
}

/** What is due first, of many things that may be taken out before: a binary heap. */
export class DueQueue<T> {
  private readonly heap: Due<T>[] = []

  get first(): Due<T> | undefined {
    return this.heap[0]
  }

  add(at: number, item: T): Due<T> {
    const due = { at, item, place: this.heap.length }
    this.heap.push(due)
    this.up(due)
    return due
  }

  remove(due: Due<T>): void {
    const last = this.heap.pop()
    if (!last || last === due) return
    last.place = due.place
    this.heap[due.place] = last
    this.up(last)
    this.down(last)
  }

  private up(due: Due<T>): void {
    for (;;) {
      const parent = this.heap[(due.place - 1) >> 1]
      if (!due.place || !parent || parent.at <= due.at) return
      this.swap(parent, due)
    }
  }

  private down(due: Due<T>): void {
    for (;;) {
      const left = this.heap[due.place * 2 + 1]
      const right = this.heap[due.place * 2 + 2]
      const child = right && left && right.at < left.at ? right : left
      if (!child || child.at >= due.at) return
      this.swap(due, child)
    }
  }

  /** `child` goes up, `parent` down. */
  private swap(parent: Due<T>, child: Due<T>): void {
    const { place } = parent
    this.heap[child.place] = parent
    this.heap[place] = child
    parent.place = child.place
    child.place = place
  }
}
