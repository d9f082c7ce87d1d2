/** Waiting: with a signal to cut it short, with a bell to end it, and longer after each failure. */

/** Resolves after so many milliseconds. @throws the signal's reason when aborted. */
export function wait(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted()
    const stop = () => {
      clearTimeout(timer)
      reject(signal.reason)
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop)
      resolve()
    }, milliseconds)
    signal.addEventListener('abort', stop, { once: true })
  })
}

/** Milliseconds before try `attempt + 1`: 0.5 s doubling to 15 s, spread by up to a quarter so tabs do not march in step. */
export function backoff(attempt: number, random: () => number = Math.random): number {
  return Math.min(15_000, 500 * 2 ** attempt) * (1 - random() / 4)
}

/** Wakes who waits for it; a ring that nobody waits for is lost. */
export class Bell {
  #wake: () => void = () => undefined
  #rings = 0

  /** How often it has rung: whoever does something meanwhile sees by it whether to wait at all. */
  get rings(): number {
    return this.#rings
  }

  ring(): void {
    this.#rings += 1
    this.#wake()
  }

  /** Resolves when it rings or so many milliseconds are over. @throws the signal's reason when aborted. */
  async heard(milliseconds: number, signal: AbortSignal): Promise<void> {
    const rung = new Promise<void>((resolve) => {
      this.#wake = resolve
    })
    await Promise.race([rung, wait(milliseconds, signal)])
  }
}
