/** Where a thread's time goes, for the benchmark; costs two looks at the clock for each piece of work. */

export const PHASES = ['read', 'hash', 'seal', 'sum', 'step', 'write', 'flush', 'wait'] as const
export type Phase = (typeof PHASES)[number]

/** Milliseconds. */
export type Spent = Record<Phase, number>

export class Stopwatch {
  readonly spent: Spent = { read: 0, hash: 0, seal: 0, sum: 0, step: 0, write: 0, flush: 0, wait: 0 }

  time<T>(phase: Phase, work: () => T): T {
    const start = performance.now()
    try {
      return work()
    } finally {
      this.spent[phase] += performance.now() - start
    }
  }
}
