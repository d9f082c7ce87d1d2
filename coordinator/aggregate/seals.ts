/** The seals (sealKernel.ts) of blobs that this process has seen whole; the oldest are forgotten first. */

/** More than the contributions of some rounds; a forgotten seal costs one more hashing. */
const MOST = 10_000

export class Seals {
  readonly #seals = new Map<string, string>()

  get(hash: string): string | undefined {
    return this.#seals.get(hash)
  }

  set(hash: string, seal: string | null): void {
    if (seal === null) return
    this.#seals.delete(hash)
    this.#seals.set(hash, seal)
    const [oldest] = this.#seals.keys()
    if (this.#seals.size > MOST && oldest !== undefined) this.#seals.delete(oldest)
  }
}
