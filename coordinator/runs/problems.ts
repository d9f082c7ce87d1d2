/** What the operator should know: the newest of each code, until it is an hour old. */
import type { Clock } from '../rounds/driver.ts'

export interface Problem {
  readonly code: string
  readonly message: string
  readonly at: number
}

const KEPT_MS = 3_600_000

export class Problems {
  readonly #byCode = new Map<string, Problem>()

  constructor(
    private readonly clock: Clock,
    private readonly changed: () => void,
  ) {}

  report(code: string, message: string): void {
    this.#byCode.set(code, { code, message, at: this.clock.now() })
    this.changed()
  }

  list(): Problem[] {
    const now = this.clock.now()
    return [...this.#byCode.values()].filter(({ at }) => now - at < KEPT_MS).sort((a, b) => b.at - a.at)
  }
}
