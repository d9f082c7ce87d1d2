/**
 * When a tab may measure a slice of an evaluation: while it waits for work, as long as it waits; between two leases for
 * a small share of the time that it has trained.
 */

/** Of the time in inner steps that may go into evaluations, waiting not counted. */
export const SHARE = 1 / 20
/** Of the time since the last inner step, which a slice may take while there is nothing else to do. */
export const IDLE_SHARE = 1 / 10
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

  /**
   * While waiting: what is begun has to end before the next lease can be taken, so it must not be long. Who has waited
   * for long may take longer: slow tabs are wanted too, and a speed may have been taken while the device was busy.
   * @param idle seconds since the last inner step
   */
  allowsIdle(trained: number, seconds: number, idle: number): boolean {
    return seconds <= Math.max(SHORT_SECONDS, SHARE * trained, IDLE_SHARE * idle)
  }

  took(seconds: number): void {
    this.#taken += seconds
  }
}
