/** One contributing tab a browser: the lock that it holds. */
export class TabLock {
  #release: () => void = () => undefined

  /** Resolves false when another tab has it. Aborted meanwhile, it is given back at once. */
  take(signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const held = new Promise<void>((release) => {
        this.#release = release
      })
      navigator.locks
        .request('potluck.contributing', { ifAvailable: true }, async (lock) => {
          resolve(lock !== null)
          if (lock !== null && !signal.aborted) await held
        })
        .catch(reject)
    })
  }

  release(): void {
    this.#release()
  }
}
