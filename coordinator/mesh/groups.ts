/**
 * Who exchanges with whom: forms groups of volunteers who agreed to it, passes their signals on, and remembers who could
 * not meet (M1 to M5 of RULES.md). In memory only.
 */
import { type GroupMessage, MESH_LIMITS } from '../../shared/protocol/mesh.ts'
import { newId } from '../accounts/secrets.ts'
import type { Clock } from '../rounds/driver.ts'
import type { IceServer } from './ice.ts'

export interface Group {
  readonly id: string
  /** Volunteers; a member's place is its index. */
  readonly members: readonly string[]
  /** All channels are open. */
  linked: boolean
  /** Over as soon as it has no exchange under way. */
  ending: string | null
}

interface Forming extends Group {
  /** By member: whom it has a channel to. */
  readonly links: Map<number, Set<number>>
  /** Of the time to connect. */
  readonly cancel: () => void
}

export interface GroupsPorts {
  readonly clock: Clock
  tell(volunteer: string, event: 'group' | 'groupOver' | 'relayed', message: object): void
  iceServers(volunteer: string): IceServer[]
  /** Whether an exchange of the group is under way. */
  isBusy(group: string): boolean
  /** Whether no round is under way, so that nobody minds another group. */
  isQuiet(): boolean
  tokensPerSecond(volunteer: string): number
  changed(): void
}

/** Members of one group whose lines differ by more wait too long for one another. */
const UNLIKE = 4

export class Groups {
  readonly #ports: GroupsPorts
  readonly #willing = new Set<string>()
  readonly #groups = new Map<string, Forming>()
  readonly #groupOf = new Map<string, string>()
  /** Pairs that could not meet, as `a b` in order. */
  readonly #strangers = new Set<string>()
  readonly #distrusted = new Set<string>()
  /** Bytes a second that a volunteer sent to others in its last exchange. */
  readonly #rates = new Map<string, number>()
  #run: { id: string; size: number } | null = null
  #cancel: () => void = () => undefined

  constructor(ports: GroupsPorts) {
    this.#ports = ports
  }

  /** The run whose volunteers are grouped; null for none. */
  serve(run: { id: string; size: number } | null): void {
    const served = run !== null && run.size > 1 ? run : null
    if (served?.id === this.#run?.id && served?.size === this.#run?.size) return
    this.#run = served
    for (const group of [...this.#groups.values()]) this.#end(group, 'Another run.')
    this.#strangers.clear()
    this.#formSoon()
  }

  /** [M1] */
  agree(volunteer: string): void {
    if (this.#distrusted.has(volunteer) || this.#willing.has(volunteer)) return
    this.#willing.add(volunteer)
    this.#formSoon()
  }

  /** [M1] [M4] */
  leave(volunteer: string): void {
    const group = this.of(volunteer)
    this.#willing.delete(volunteer)
    this.#rates.delete(volunteer)
    for (const pair of this.#strangers) if (pair.split(' ').includes(volunteer)) this.#strangers.delete(pair)
    if (group) this.#endWhenIdle(group.id, 'Somebody left.')
  }

  /** [X6] */
  distrust(volunteer: string): void {
    this.#distrusted.add(volunteer)
    this.leave(volunteer)
  }

  /** [M1] Null for who has left, though its group may have an exchange to finish. */
  of(volunteer: string): Group | null {
    if (!this.#willing.has(volunteer)) return null
    return this.#groups.get(this.#groupOf.get(volunteer) ?? '') ?? null
  }

  get(group: string): Group | null {
    return this.#groups.get(group) ?? null
  }

  all(): readonly Group[] {
    return [...this.#groups.values()]
  }

  /** [M5] False when there is nobody to pass it on to. */
  signal(from: string, id: string, to: number, signal: string): boolean {
    const group = this.#groups.get(id)
    const sender = group?.members.indexOf(from) ?? -1
    const receiver = group?.members[to]
    if (!group || sender < 0 || receiver === undefined || receiver === from) return false
    if (!this.#willing.has(from) || !this.#willing.has(receiver)) return false
    this.#ports.tell(receiver, 'relayed', { group: id, from: sender, signal })
    return true
  }

  /** [M3] */
  linked(volunteer: string, id: string, others: readonly number[], bytesPerSecond: number | null): void {
    const group = this.#groups.get(id)
    const index = group?.members.indexOf(volunteer) ?? -1
    if (!group || index < 0) return
    group.links.set(index, new Set(others))
    if (bytesPerSecond !== null) this.#rates.set(volunteer, bytesPerSecond)
    const whole = group.members.every((_, a) => this.#missing(group, a).length === 0)
    if (whole && !group.linked) {
      group.cancel()
      group.linked = true
    } else if (!whole && group.linked) {
      this.#endWhenIdle(id, 'A channel broke.')
    }
    this.#ports.changed()
  }

  /** [M4] An exchange has ended. */
  idle(id: string): void {
    const group = this.#groups.get(id)
    if (group?.ending) this.#end(group, group.ending)
  }

  /** [M4] A round has opened, or none is under way. */
  regroup(): void {
    this.#enlarge()
    this.#sortOut()
  }

  #enlarge(): void {
    const { size } = this.#run ?? { size: 0 }
    const open = this.#ungrouped()
    const small = this.#idle().filter(({ members }) => members.length < size)
    const anew = this.#grouped([...open, ...small.flatMap(({ members }) => members)])
    if (anew.length >= open.length + small.length) return
    this.#endAll(small, 'Larger groups.')
  }

  /** Groups of unlike lines anew, where that makes fewer of them and no more groups. */
  #sortOut(): void {
    const mixed = this.#idle().filter(({ members }) => this.#isMixed(members))
    const anew = this.#grouped(mixed.flatMap(({ members }) => members))
    const fewer = anew.filter((members) => this.#isMixed(members)).length < mixed.length
    if (!fewer || anew.length > mixed.length) return
    this.#endAll(mixed, 'Groups of like lines.')
  }

  #idle(): Forming[] {
    return [...this.#groups.values()].filter(({ id }) => !this.#ports.isBusy(id))
  }

  #endAll(groups: readonly Forming[], why: string): void {
    for (const group of groups) this.#end(group, why)
  }

  #isMixed(members: readonly string[]): boolean {
    const rates = members.flatMap((member) => this.#rates.get(member) ?? [])
    return Math.max(...rates) > UNLIKE * Math.min(...rates)
  }

  close(): void {
    this.#cancel()
    for (const group of this.#groups.values()) group.cancel()
  }

  #missing(group: { members: readonly string[]; links: Map<number, Set<number>> }, a: number): number[] {
    return group.members.flatMap((_, b) => {
      const both = group.links.get(a)?.has(b) && group.links.get(b)?.has(a)
      return a === b || both ? [] : [b]
    })
  }

  #endWhenIdle(id: string, why: string): void {
    const group = this.#groups.get(id)
    if (!group) return
    group.ending = why
    if (!this.#ports.isBusy(id)) this.#end(group, why)
  }

  #end(group: Forming, why: string): void {
    group.cancel()
    this.#groups.delete(group.id)
    for (const member of group.members) {
      this.#groupOf.delete(member)
      this.#ports.tell(member, 'groupOver', { group: group.id, why })
    }
    this.#formSoon()
    this.#ports.changed()
  }

  #ungrouped(): string[] {
    return [...this.#willing].filter((volunteer) => !this.#groupOf.has(volunteer))
  }

  /** Those who come within a moment of one another are grouped together. */
  #formSoon(): void {
    this.#cancel()
    this.#cancel = this.#ports.clock.at(this.#ports.clock.now() + 300, () => this.#form())
  }

  #form(): void {
    if (this.#run === null) return
    for (const members of this.#grouped(this.#ungrouped())) {
      if (members.length > 1) this.#begin(members, this.#run.id)
    }
    if (this.#ports.isQuiet()) this.regroup()
    this.#ports.changed()
  }

  /** [M2] These volunteers in groups, of one where there is nobody to meet. */
  #grouped(volunteers: readonly string[]): string[][] {
    const { size } = this.#run ?? { size: 1 }
    const open = this.#bySpeed(volunteers)
    const groups: string[][] = []
    while (open.length > 0) {
      const members: string[] = []
      for (const other of open) {
        if (members.length === size) break
        if (members.every((member) => this.#mayMeet(member, other))) members.push(other)
      }
      for (const member of members) open.splice(open.indexOf(member), 1)
      groups.push(members)
    }
    return groups
  }

  /** By their lines, alike within a factor of two (who was never measured has one in the middle), then by tokens a second. */
  #bySpeed(volunteers: readonly string[]): string[] {
    const lines = new Map(
      volunteers.flatMap((one) => {
        const rate = this.#rates.get(one)
        return rate === undefined ? [] : [[one, Math.round(Math.log2(Math.max(1, rate)))]]
      }),
    )
    const known = [...lines.values()].sort((a, b) => a - b)
    const middle = known[known.length >> 1] ?? 0
    const line = (volunteer: string) => lines.get(volunteer) ?? middle
    const speed = (volunteer: string) => this.#ports.tokensPerSecond(volunteer)
    return [...volunteers].sort((a, b) => line(b) - line(a) || speed(b) - speed(a) || (a < b ? -1 : 1))
  }

  #begin(members: readonly string[], run: string): void {
    const id = newId()
    const { clock, tell, iceServers } = this.#ports
    const cancel = clock.at(clock.now() + MESH_LIMITS.linkSeconds * 1_000, () => this.#giveUp(id))
    this.#groups.set(id, { id, members, linked: false, ending: null, links: new Map(), cancel })
    for (const [index, member] of members.entries()) {
      this.#groupOf.set(member, id)
      const message: GroupMessage = {
        group: id,
        run,
        size: members.length,
        index,
        iceServers: iceServers(member),
      }
      tell(member, 'group', message)
    }
  }

  /** [M3] */
  #giveUp(id: string): void {
    const group = this.#groups.get(id)
    if (!group || group.linked) return
    for (const [a, member] of group.members.entries()) {
      for (const b of this.#missing(group, a)) this.#strangers.add(pairOf(member, group.members[b] as string)) // b is an index
    }
    this.#end(group, 'Not everybody could connect.')
  }

  #mayMeet(a: string, b: string): boolean {
    return !this.#strangers.has(pairOf(a, b))
  }
}

const pairOf = (a: string, b: string): string => (a < b ? `${a} ${b}` : `${b} ${a}`)
