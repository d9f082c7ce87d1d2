/** What the members of an exchange were asked for, and what of it has come to the coordinator, with its hash. */
export class Pieces {
  readonly #came = new Map<string, string>()
  readonly #asked = new Set<string>()

  /** Of a slice; undefined until there is one. */
  mean(slice: number): string | undefined {
    return this.#came.get(`mean ${slice}`)
  }

  setMean(slice: number, hash: string): void {
    this.#came.set(`mean ${slice}`, hash)
  }

  dropMean(slice: number): void {
    this.#came.delete(`mean ${slice}`)
  }

  /** A member's own slice; of null, its whole contribution. */
  own(slice: number | null, member: number): string | undefined {
    return this.#came.get(nameOf(slice, member))
  }

  setOwn(slice: number | null, member: number, hash: string): void {
    this.#came.set(nameOf(slice, member), hash)
  }

  /** False when it was asked before. */
  ask(slice: number | null, member: number): boolean {
    if (this.wasAsked(slice, member)) return false
    this.#asked.add(nameOf(slice, member))
    return true
  }

  wasAsked(slice: number | null, member: number): boolean {
    return this.#asked.has(nameOf(slice, member))
  }

  owes(slice: number | null, member: number): boolean {
    return this.wasAsked(slice, member) && this.own(slice, member) === undefined
  }
}

const nameOf = (slice: number | null, member: number): string => `${slice ?? 'whole'} of ${member}`
