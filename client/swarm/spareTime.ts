/**
 * When a tab may measure a slice of an evaluation: while it waits for work, as long as it waits; between two leases for
 * a small share of the time that it has trained.
 */

/** Of the time in inner steps that may go into evaluations, waiting not counted. */
export const SHARE = 1 / 20
/** A slice so short may always be measured while there is nothing else to do. */
export const SHORT_SECONDS = 2

export class SpareTime {
  /** Seconds of measuring that training waited for. */
  #taken = 0

  /**
   * @param trained seconds in inner steps so far
   * @param seconds that the slice will take about
   */
  allows(trained: number, seconds: number): boolean {
    return this.#taken + seconds <= SHARE * trained
  }

  /** While waiting: what is begun has to end before the next lease can be taken, so it must not be long. */
  allowsIdle(trained: number, seconds: number): boolean {
    return seconds <= Math.max(SHORT_SECONDS, SHARE * trained)
  }

  took(seconds: number): void {
    this.#taken += seconds
  }
}
