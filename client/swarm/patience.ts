/** Waiting: with a signal to cut it short, and longer after each failure. */

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
