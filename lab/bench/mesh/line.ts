/**
 * A home connection: so many bytes a second up and down, for all channels and requests of the tab together, and a delay.
 * Requests wait for as long as their bytes take and then go at once.
 */
import type { Channel } from '../../../client/mesh/link.ts'
import { byXmlHttpRequest, type Transport } from '../../../client/swarm/transport.ts'

const plainFetch = window.fetch.bind(window)

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

  readonly transport: Transport = async (outgoing) => {
    const { speed } = this
    if (speed !== null) await until(this.#takeUp(outgoing.body?.length ?? 0, speed.up) + 2 * speed.delayMs)
    return byXmlHttpRequest(outgoing)
  }

  readonly fetch = async (...asked: Parameters<typeof fetch>): Promise<Response> => {
    const response = await plainFetch(...asked)
    const bytes = Number(response.headers.get('content-length') ?? 0)
    const { speed } = this
    if (speed !== null) await until(this.#takeDown(bytes, speed.down) + 2 * speed.delayMs)
    return response
  }

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
