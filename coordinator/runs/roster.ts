/** Who is connected now and what they are doing: memory only, gone with the process, rebuilt as tabs reconnect. */
import type { Backend } from '../../shared/engine/engine.ts'
import type { VolunteerState } from '../../shared/protocol/messages.ts'
import { Book } from '../rounds/book.ts'

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
  /** By volunteer: tokens a second that the round machine has not been told yet. */
  #told = Book.of<number>([])

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
    this.#told = this.#told.without(id)
    return true
  }

  get(id: string): Live | undefined {
    return this.#live.get(id)
  }

  /** What a volunteer says of itself. */
  report(live: Live, said: Partial<Live>): void {
    Object.assign(live, said)
    if (said.tokensPerSecond) this.#told = this.#told.with(live.id, said.tokensPerSecond)
  }

  /** Speeds for the round machine, until it knows them. */
  get told(): Book<number> {
    return this.#told
  }

  /** The round machine knows these now. */
  known(told: Book<number>): void {
    const since = Array.from(this.#told.since(told), ({ id, after }) => [id, after] as const)
    this.#told = Book.of(since.flatMap(([id, speed]) => (speed === undefined ? [] : [[id, speed] as const])))
  }

  all(): Live[] {
    return [...this.#live.values()]
  }
}
