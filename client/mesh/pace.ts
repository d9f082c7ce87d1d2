/**
 * How fast this tab sends to several others at once: its uplink, as long as that is what holds them up. Of the messages in
 * the order in which they arrived, the best of bytes so far over time so far, so that one slow receiver does not count.
 */
export class Pace {
  #began: number | null = null
  #bytes = 0
  #best: number | null = null

  /** Sending begins, at a time in milliseconds; only the first time counts. */
  begin(now: number): void {
    this.#began ??= now
  }

  /** So many bytes have arrived. */
  sent(bytes: number, now: number): void {
    this.#bytes += bytes
    const seconds = Math.max(1, now - (this.#began ?? now)) / 1_000
    this.#best = Math.max(this.#best ?? 0, this.#bytes / seconds)
  }

  /** Null before anything has arrived. */
  get bytesPerSecond(): number | null {
    return this.#best
  }
}
