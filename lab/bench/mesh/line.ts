/** A home connection for data channels: so many bytes a second up and down, all channels of the tab together, and a delay. */
import type { Channel } from '../../../client/mesh/link.ts'

export class Line {
  /** Null: as fast as it goes. */
  speed: { readonly up: number; readonly down: number; readonly delayMs: number } | null = null
  #upFree = 0
  #downFree = 0

  readonly through = (channel: Channel): Channel => ({
    write: async (frame) => {
      if (this.speed !== null) await until(this.#takeUp(frame.length, this.speed.up))
      await channel.write(frame)
    },
    onFrame: (listener) => {
      let before = Promise.resolve()
      channel.onFrame((frame) => {
        const { speed } = this
        const at = speed === null ? 0 : this.#takeDown(frame.length, speed.down) + speed.delayMs
        before = before.then(() => until(at)).then(() => listener(frame))
      })
    },
    onClose: (listener) => channel.onClose(listener),
    close: () => channel.close(),
  })

  #takeUp(bytes: number, perSecond: number): number {
    this.#upFree = Math.max(this.#upFree, performance.now()) + (1_000 * bytes) / perSecond
    return this.#upFree
  }

  #takeDown(bytes: number, perSecond: number): number {
    this.#downFree = Math.max(this.#downFree, performance.now()) + (1_000 * bytes) / perSecond
    return this.#downFree
  }
}

async function until(time: number): Promise<void> {
  const ms = time - performance.now()
  if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms))
}
