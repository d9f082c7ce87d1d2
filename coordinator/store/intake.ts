/**
 * Reads an upload's body one chunk at a time, so that the sender goes no faster than the disk (U4). Ends by itself when
 * the body gives next to nothing for too long (U5), and at once when it is called away. Leaves the body open: there may
 * be an answer yet.
 */
import type { Readable } from 'node:stream'
import { LIMITS } from '../../shared/protocol/limits.ts'
import type { Clock } from '../rounds/driver.ts'

/** Why reading stopped although the body goes on. discarded: its lease ended. closing: the coordinator stops. */
export type Cut = 'stalled' | 'superseded' | 'discarded' | 'closing'

/** ended: the body came to its end. broken: its connection did. */
export type IntakeEnd = 'ended' | 'broken' | Cut

const STIRS = ['readable', 'end', 'error', 'close'] as const

export class Intake {
  #cut: Cut | null = null
  #wake: () => void = () => undefined
  /** Bytes, and milliseconds of waiting for them, since the sender was last found fast enough. */
  #came = 0
  #waited = 0
  readonly #stir = () => this.#wake()

  constructor(
    private readonly body: Readable,
    private readonly clock: Clock,
    private readonly idleSeconds: number,
  ) {
    for (const event of STIRS) body.on(event, this.#stir)
  }

  get cutBy(): Cut | null {
    return this.#cut
  }

  cut(reason: Cut): void {
    this.#cut ??= reason
    this.#wake()
  }

  async next(): Promise<Buffer | IntakeEnd> {
    for (;;) {
      if (this.#cut !== null) return this.#cut
      const chunk = this.body.read() as Buffer | null // requests are streams of bytes
      if (chunk !== null) {
        this.#credit(chunk.length)
        return chunk
      }
      if (this.body.readableEnded) return 'ended'
      if (this.body.destroyed) return 'broken'
      await this.#stirred()
    }
  }

  /** Lets go of the body. */
  close(): void {
    for (const event of STIRS) this.body.off(event, this.#stir)
    this.body.on('error', () => undefined) // a connection that breaks later is nobody's fault
  }

  #credit(bytes: number): void {
    this.#came += bytes
    if (this.#came < LIMITS.uploadIdleBytes) return
    this.#came = 0
    this.#waited = 0
  }

  /** Only waiting for the sender counts against it, not the time that the disk takes. */
  async #stirred(): Promise<void> {
    const since = this.clock.now()
    const left = this.idleSeconds * 1_000 - this.#waited
    const cancel = this.clock.at(since + left, () => this.cut('stalled'))
    await new Promise<void>((resolve) => {
      this.#wake = resolve
    })
    cancel()
    this.#waited += this.clock.now() - since
  }
}
