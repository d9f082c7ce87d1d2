/** Who may open a socket at all: our own pages, and only so many from one address. */
import type { IncomingMessage } from 'node:http'
import { LIMITS } from '../../shared/protocol/limits.ts'
import { originAllowed } from '../http/origin.ts'

export class Gate {
  readonly #open = new Map<string, number>()

  constructor(
    private readonly publicUrl: string | null,
    private readonly trustedProxies: number,
  ) {}

  /** For Socket.IO's allowRequest. */
  allows(request: IncomingMessage): boolean {
    const { origin, host } = request.headers
    const crowded = (this.#open.get(this.addressOf(request)) ?? 0) >= LIMITS.socketsPerAddress
    return originAllowed(origin, host, this.publicUrl) && !crowded
  }

  /** The client as seen by the outermost proxy that is trusted; without one, the peer itself. */
  addressOf(request: IncomingMessage): string {
    const forwarded = String(request.headers['x-forwarded-for'] ?? '').split(',')
    const claimed = this.trustedProxies > 0 ? forwarded.at(-this.trustedProxies)?.trim() : undefined
    return claimed || (request.socket.remoteAddress ?? 'unknown')
  }

  /** Counts a connection; call the answer when it ends. */
  enter(address: string): () => void {
    this.#open.set(address, (this.#open.get(address) ?? 0) + 1)
    return () => {
      const left = (this.#open.get(address) ?? 1) - 1
      if (left > 0) this.#open.set(address, left)
      else this.#open.delete(address)
    }
  }
}
