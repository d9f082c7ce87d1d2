/** Who is connected now and what they are doing: memory only, gone with the process, rebuilt as tabs reconnect. */
import type { Backend } from '../../shared/engine/engine.ts'
import type { VolunteerState } from '../../shared/protocol/messages.ts'

export interface Live {
  readonly id: string
  readonly name: string
  /** Open sockets of this volunteer; usually one. */
  sockets: number
  /** Asked to contribute and not left since. */
  willing: boolean
  state: VolunteerState
  backend: Backend | null
  device: string
  tokensPerSecond: number | null
  step: number | null
  /** As the tab counts them, over its visit. */
  utilisation: number | null
  bytesUp: number | null
  bytesDown: number | null
  /** Agreed to exchange with other volunteers. */
  meets: boolean
  peerBytesUp: number | null
  peerBytesDown: number | null
}

export class Roster {
  readonly #live = new Map<string, Live>()

  arrive({ id, name }: { id: string; name: string }): Live {
    const known = this.#live.get(id)
    if (known) {
      known.sockets += 1
      return known
    }
    const nothing = { backend: null, device: '', tokensPerSecond: null, step: null }
    const uncounted = {
      utilisation: null,
      bytesUp: null,
      bytesDown: null,
      peerBytesUp: null,
      peerBytesDown: null,
    }
    const live: Live = {
      id,
      name,
      sockets: 1,
      willing: false,
      meets: false,
      state: 'watching',
      ...nothing,
      ...uncounted,
    }
    this.#live.set(id, live)
    return live
  }

  /** True when that was the volunteer's last socket. */
  depart(id: string): boolean {
    const live = this.#live.get(id)
    if (!live) return false
    live.sockets -= 1
    if (live.sockets > 0) return false
    this.#live.delete(id)
    return true
  }

  get(id: string): Live | undefined {
    return this.#live.get(id)
  }

  /** Tokens a second of those among the volunteers who are willing and have told. */
  speeds(volunteers: Iterable<string>): Record<string, number> {
    const told: Record<string, number> = {}
    for (const id of volunteers) {
      const live = this.#live.get(id)
      if (live?.willing && live.tokensPerSecond) told[id] = live.tokensPerSecond
    }
    return told
  }

  all(): Live[] {
    return [...this.#live.values()]
  }
}
