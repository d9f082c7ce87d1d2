/** The exchanges under way, to be found by id, by group, of which each has one at most, and by member. */
import type { Exchange } from './exchange.ts'

export interface UnderWay {
  readonly exchange: Exchange
  readonly group: string
  readonly members: readonly string[]
  /** Of the run, that it is for. */
  readonly round: number
  readonly era: number
  /** Names of what has begun to come for it, as Partials has them. */
  readonly uploads: Set<string>
}

export class Exchanges {
  readonly #byId = new Map<string, UnderWay>()
  readonly #byGroup = new Map<string, UnderWay>()
  /** Who has left a group may be in another one before the first one's exchange is over. */
  readonly #byMember = new Map<string, readonly UnderWay[]>()

  get size(): number {
    return this.#byId.size
  }

  add(one: UnderWay): void {
    this.#byId.set(one.exchange.id, one)
    this.#byGroup.set(one.group, one)
    for (const member of one.members) this.#byMember.set(member, [...this.with(member), one])
  }

  delete({ exchange, group, members }: UnderWay): void {
    this.#byId.delete(exchange.id)
    this.#byGroup.delete(group)
    for (const member of members) {
      const others = this.with(member).filter((other) => other.exchange !== exchange)
      if (others.length > 0) this.#byMember.set(member, others)
      else this.#byMember.delete(member)
    }
  }

  get(id: string): UnderWay | undefined {
    return this.#byId.get(id)
  }

  of(group: string): UnderWay | undefined {
    return this.#byGroup.get(group)
  }

  with(member: string): readonly UnderWay[] {
    return this.#byMember.get(member) ?? []
  }

  all(): readonly UnderWay[] {
    return [...this.#byId.values()]
  }
}
