/** The share of a visit that went into inner steps, from the first step on, pauses not counted; and how long ago the last was. */
export class Utilisation {
  readonly #now: () => number
  /** When the last job ended; before there was one, when the visit began. */
  #idleSince: number
  #began: number | null = null
  /** Milliseconds in inner steps of jobs that have ended. */
  #busy = 0
  #paused = 0
  #pausedAt: number | null = null
  #job: { readonly at: number; readonly pausedBefore: number } | null = null

  /** `now` in milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
    this.#idleSince = now()
  }

  jobBegan(): void {
    this.#began ??= this.#now()
    this.#job = { at: this.#now(), pausedBefore: this.#pausedSoFar() }
  }

  /** `seconds`: in inner steps, as the engine counts them; when it has failed, as the clock does. */
  jobEnded(seconds = this.#busyInJob() / 1_000): void {
    this.#busy += seconds * 1_000
    this.#job = null
    this.#idleSince = this.#now()
  }

  paused(): void {
    this.#pausedAt ??= this.#now()
  }

  resumed(): void {
    this.#paused = this.#pausedSoFar()
    this.#pausedAt = null
  }

  /** In inner steps so far. */
  get busySeconds(): number {
    return (this.#busy + this.#busyInJob()) / 1_000
  }

  /** Since the last inner step, or since the visit began. */
  get idleSeconds(): number {
    return this.#job === null ? (this.#now() - this.#idleSince) / 1_000 : 0
  }

  /** 0 to 1; null before the first step. */
  get share(): number | null {
    if (this.#began === null) return null
    const wall = this.#now() - this.#began - this.#pausedSoFar()
    return wall <= 0 ? null : Math.min(1, (this.#busy + this.#busyInJob()) / wall)
  }

  #busyInJob(): number {
    if (this.#job === null) return 0
    return this.#now() - this.#job.at - (this.#pausedSoFar() - this.#job.pausedBefore)
  }

  #pausedSoFar(): number {
    return this.#paused + (this.#pausedAt === null ? 0 : this.#now() - this.#pausedAt)
  }
}
