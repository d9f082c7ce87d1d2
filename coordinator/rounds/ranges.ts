/**
 * Disjoint ranges of sequences in the order of their epochs and positions, none touching another: neighbours are joined.
 * Never changed, as book.ts; adding a range and taking the first cost O(log n).
 */
import type { DataRange } from '../../shared/protocol/run.ts'
import { Book } from './book.ts'

const byPosition = (a: DataRange, b: DataRange): number => a.epoch - b.epoch || a.first - b.first

const nameOf = (epoch: number, position: number): string => `${epoch}/${position}`

export class Ranges {
  private constructor(
    /** By the names of their first positions. */
    readonly byFirst: Book<DataRange>,
    /** By the names of the positions right after them. */
    private readonly byEnd: Book<DataRange>,
  ) {}

  static of(ranges: Iterable<DataRange>): Ranges {
    return new Ranges(Book.of<DataRange>([], byPosition), Book.of<DataRange>([])).withAll(ranges)
  }

  get size(): number {
    return this.byFirst.size
  }

  get first(): DataRange | null {
    return this.byFirst.first?.[1] ?? null
  }

  withAll(ranges: Iterable<DataRange>): Ranges {
    let all: Ranges = this
    for (const range of ranges) all = all.withOne(range)
    return all
  }

  /** `range` is one of them. */
  without(range: DataRange): Ranges {
    const { epoch, first, count } = range
    return new Ranges(
      this.byFirst.without(nameOf(epoch, first)),
      this.byEnd.without(nameOf(epoch, first + count)),
    )
  }

  /** In order. */
  *[Symbol.iterator](): Generator<DataRange> {
    yield* [...this.byFirst.values()].sort(byPosition)
  }

  toJSON(): DataRange[] {
    return [...this]
  }

  private withOne(range: DataRange): Ranges {
    const { epoch, first, count } = range
    const before = this.byEnd.get(nameOf(epoch, first))
    const after = this.byFirst.get(nameOf(epoch, first + count))
    if (before === undefined && after === undefined) {
      return new Ranges(
        this.byFirst.with(nameOf(epoch, first), range),
        this.byEnd.with(nameOf(epoch, first + count), range),
      )
    }
    let rest: Ranges = this
    for (const neighbour of [before, after]) if (neighbour) rest = rest.without(neighbour)
    const start = before?.first ?? first
    const end = after ? after.first + after.count : first + count
    return rest.withOne({ epoch, first: start, count: end - start })
  }
}
