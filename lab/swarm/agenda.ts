/** What happens when, in a simulation: a heap of times and things to do. Equal times go in the order they came. */

interface Item {
  readonly time: number
  readonly order: number
  readonly act: () => Promise<void> | void
}

export class Agenda {
  readonly #heap: Item[] = []
  #count = 0

  get next(): number | null {
    return this.#heap[0]?.time ?? null
  }

  add(time: number, act: Item['act']): void {
    const item = { time, order: this.#count++, act }
    let at = this.#heap.push(item) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!before(item, this.#at(parent))) break
      this.#heap[at] = this.#at(parent)
      at = parent
    }
    this.#heap[at] = item
  }

  /** The earliest, which it no longer has. */
  take(): Item | null {
    const [first] = this.#heap
    const last = this.#heap.pop()
    if (first === undefined || last === undefined) return null
    if (this.#heap.length > 0) this.#sink(last)
    return first
  }

  #sink(item: Item): void {
    const heap = this.#heap
    let at = 0
    for (;;) {
      const [left, right] = [2 * at + 1, 2 * at + 2]
      if (left >= heap.length) break
      const child = right < heap.length && before(this.#at(right), this.#at(left)) ? right : left
      if (!before(this.#at(child), item)) break
      heap[at] = this.#at(child)
      at = child
    }
    heap[at] = item
  }

  #at(index: number): Item {
    return this.#heap[index] as Item // only asked for what there is
  }
}

const before = (one: Item, other: Item): boolean =>
  one.time < other.time || (one.time === other.time && one.order < other.order)
