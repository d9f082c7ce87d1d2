/**
 * One exchange of one group in one round, from the first offer to the accepted mean: X1 to X6 of RULES.md. It knows
 * neither sockets nor disks; mesh.ts gives it both.
 */
import { CODECS } from '../../shared/codec/codec.ts'
import { type Slice, slicesOf } from '../../shared/mesh/slices.ts'
import {
  type ExchangeMessage,
  type ExchangePiece,
  MESH_LIMITS,
  type ReduceMessage,
} from '../../shared/protocol/mesh.ts'
import type { ExchangeParts, ExchangePorts, Offer } from './exchangeParts.ts'
import { Pieces } from './pieces.ts'
import { bestSet } from './sets.ts'

type Phase = 'gathering' | 'scattering' | 'reducing' | 'auditing' | 'settling' | 'over'

export class Exchange {
  readonly id: string
  readonly #parts: ExchangeParts
  readonly #ports: ExchangePorts
  readonly #slices: readonly Slice[]
  readonly #offers = new Map<number, Offer>()
  readonly #gone = new Set<number>()
  /** By reducer: whose slices it holds. */
  readonly #held = new Map<number, ReadonlySet<number>>()
  readonly #pieces = new Pieces()
  /** Reducers of which nothing more is expected. */
  readonly #late = new Set<number>()
  /** Slices whose mean is being taken here. */
  readonly #making = new Set<number>()
  #reducers: number[] = []
  #set: readonly number[] = []
  /** How many sets there were. */
  #attempt = 0
  #phase: Phase = 'gathering'
  #bytes = 0
  #succeeded = false
  #audited = false
  #audit: { slice: number; whole: number } | null = null
  #cancelPhase: () => void = () => undefined
  readonly #cancelAll: () => void

  constructor(parts: ExchangeParts, ports: ExchangePorts) {
    this.id = parts.id
    this.#parts = parts
    this.#ports = ports
    this.#slices = slicesOf(parts.parameters, parts.members.length, parts.codec)
    for (const [slice, { bytes }] of this.#slices.entries()) {
      if (bytes === 0) this.#pieces.setMean(slice, '') // nothing to bring
    }
    const { clock } = ports
    this.#cancelAll = clock.at(parts.until, () => this.fail('It took too long.'))
    const gather = clock.now() + (parts.until - clock.now()) / 2
    this.#cancelPhase = clock.at(gather, () => this.#scatter())
  }

  /** It ended in a mean that was accepted. */
  get succeeded(): boolean {
    return this.#succeeded
  }

  get phase(): Phase {
    return this.#phase
  }

  /** [X1] False when it is too late. */
  offer(index: number, offer: Offer): boolean {
    if (this.#phase !== 'gathering' || offer.slices.length !== this.#slices.length) return false
    this.#gone.delete(index)
    this.#offers.set(index, offer)
    this.look()
    return true
  }

  /** Who is expected may have changed. */
  look(): void {
    if (this.#phase === 'gathering' && this.#offers.size > 0 && this.#awaited().length === 0) this.#scatter()
  }

  /** [X2] */
  held(volunteer: string, from: readonly number[]): void {
    const index = this.#parts.members.indexOf(volunteer)
    if (this.#phase !== 'scattering' || !this.#reducers.includes(index)) return
    this.#held.set(index, new Set([...from.filter((one) => this.#offers.has(one)), index]))
    if (this.#allHeld()) this.#reduce()
  }

  /**
   * A member has gone, or cannot go on. What it has sent to all reducers still counts, unless it `withdraws`: then its
   * lease is over, or it sends its contribution directly.
   */
  lost(volunteer: string, withdraws: boolean): void {
    const index = this.#parts.members.indexOf(volunteer)
    if (index < 0) return
    const known = this.#gone.has(index)
    this.#gone.add(index)
    if (withdraws && this.#set.includes(index)) {
      this.#goOnWithout([index])
      return
    }
    if (known) return
    switch (this.#phase) {
      case 'gathering':
        this.#offers.delete(index)
        this.look()
        return
      case 'scattering':
        if (this.#present().length < 2) this.fail('Too few are left.')
        else if (this.#allHeld()) this.#reduce()
        return
      case 'reducing':
      case 'auditing':
        this.#askForOwn()
        return
      default:
    }
  }

  /**
   * What is to come under this name, or why it is not: its exact length, and the hash it must have if that was committed
   * to.
   */
  expects(
    volunteer: string,
    { kind, slice, attempt }: ExchangePiece,
  ): { bytes: number; hash: string | null } | null {
    const index = this.#parts.members.indexOf(volunteer)
    const { bytes } = this.#slices[slice] ?? { bytes: 0 }
    const offer = this.#offers.get(index)
    if (!offer || (this.#phase !== 'reducing' && this.#phase !== 'auditing')) return null
    if (kind === 'mean') {
      const hash = this.#pieces.mean(slice) ?? null // another one is no use any more
      return this.#reducers[slice] === index && attempt === this.#attempt ? { bytes, hash } : null
    }
    if (!this.#pieces.wasAsked(kind === 'own' ? slice : null, index)) return null
    if (kind === 'own') return { bytes, hash: offer.slices[slice] ?? null }
    const { codec, parameters } = this.#parts
    return { bytes: CODECS[codec].byteLength(parameters), hash: offer.sha256 }
  }

  /** The bytes are in the vault. */
  arrived(volunteer: string, { kind, slice, attempt }: ExchangePiece, hash: string, bytes: number): void {
    const index = this.#parts.members.indexOf(volunteer)
    if (kind === 'mean') {
      if (attempt !== this.#attempt || this.#hasMean(slice)) return
      this.#pieces.setMean(slice, hash)
    } else {
      const own = kind === 'own' ? slice : null
      if (this.#pieces.own(own, index) !== undefined) return
      this.#pieces.setOwn(own, index, hash)
    }
    if (kind !== 'whole' && this.#phase === 'reducing') this.#bytes += bytes
    this.#progress()
  }

  /** [X5] */
  fail(why: string): void {
    if (this.#phase === 'over' || this.#phase === 'settling') return
    this.#end(new Map(), why)
  }

  #awaited(): number[] {
    return [...this.#parts.members.keys()].filter(
      (index) =>
        !this.#offers.has(index) &&
        !this.#gone.has(index) &&
        this.#ports.coming(this.#parts.members[index] ?? ''),
    )
  }

  /** Who has offered and not gone since. */
  #present(): number[] {
    return [...this.#offers.keys()].filter((index) => !this.#gone.has(index))
  }

  /** Those who have something to reduce. */
  #liveReducers(): number[] {
    const busy = this.#reducers.filter((_, slice) => this.#slices[slice]?.bytes)
    return [...new Set(busy)].filter((index) => !this.#gone.has(index))
  }

  /** Bytes of the largest slice. */
  get #largest(): number {
    return Math.max(...this.#slices.map(({ bytes }) => bytes))
  }

  /** Whether every reducer has the slices of everybody who is there. */
  #allHeld(): boolean {
    const there = this.#present()
    return this.#liveReducers().every((one) => there.every((m) => this.#held.get(one)?.has(m)))
  }

  #nextPhase(phase: Phase, bytes: number, late: () => void): void {
    this.#cancelPhase()
    this.#phase = phase
    const { clock } = this.#ports
    const { phaseSeconds, slowestBytesPerSecond } = MESH_LIMITS
    const seconds = phaseSeconds + bytes / slowestBytesPerSecond
    this.#cancelPhase = clock.at(clock.now() + 1_000 * seconds, late)
  }

  /** [X2] Everybody sends their slices. */
  #scatter(): void {
    if (this.#phase !== 'gathering') return
    const there = [...this.#offers.keys()].sort((a, b) => a - b)
    if (there.length < 2) {
      this.fail('Nobody else was ready.')
      return
    }
    this.#reducers = this.#slices.map((_, s) => (there.includes(s) ? s : (there[s % there.length] as number))) // there are two
    this.#nextPhase('scattering', 2 * this.#largest * there.length, () => this.#reduce())
    const { id: exchange, group, codec, parameters } = this.#parts
    const members = there.map((index) => ({ index, slices: [...(this.#offers.get(index)?.slices ?? [])] }))
    const message: ExchangeMessage = { exchange, group, codec, parameters, members, reducers: this.#reducers }
    for (const index of there) this.#tell(index, 'exchange', message)
  }

  /** [X2] Nothing more is waited for. */
  #reduce(): void {
    if (this.#phase !== 'scattering') return
    const slices = new Map<number, number>()
    for (const [slice, reducer] of this.#reducers.entries())
      if (this.#slices[slice]?.bytes) slices.set(reducer, (slices.get(reducer) ?? 0) + 1)
    const { set, reducers } = bestSet(this.#present(), this.#held, slices)
    for (const index of slices.keys()) if (!reducers.has(index)) this.#late.add(index)
    this.#take(set, [...this.#offers.keys()], 'Too few slices came through.')
  }

  /** [X2] [X3] Fixes the set, out of those who were in it before, and has it reduced. */
  #take(set: readonly number[], before: readonly number[], why: string): void {
    if (set.length < 2) {
      this.fail(why)
      return
    }
    this.#set = set
    this.#attempt += 1
    this.#audit = null
    this.#making.clear()
    for (const [slice, { bytes }] of this.#slices.entries()) if (bytes > 0) this.#pieces.dropMean(slice)
    this.#nextPhase('reducing', 2 * this.#largest, () => this.#overdue())
    const message: ReduceMessage = {
      exchange: this.id,
      attempt: this.#attempt,
      set: set.map((index) => ({ index, weight: this.#offers.get(index)?.weight ?? 0 })),
    }
    for (const index of this.#liveReducers()) {
      if (!set.includes(index))
        this.#late.add(index) // it sends directly, and owes nothing
      else if (!this.#late.has(index)) this.#tell(index, 'reduce', message)
    }
    for (const index of before) if (!set.includes(index)) this.#settled(index, null, why)
    this.#askForOwn()
  }

  /** [X3] The mean is taken over the others; those are told to send directly. Who is out already changes nothing. */
  #goOnWithout(members: readonly number[]): void {
    if (this.#phase !== 'reducing' && this.#phase !== 'auditing') return
    const set = this.#set.filter((index) => !members.includes(index))
    if (members.length === 0) this.fail('A slice did not come.')
    else if (set.length < this.#set.length)
      this.#take(set, this.#set, 'The exchange went on without somebody whose bytes are missing.')
  }

  /** Members of the set whose bytes were asked for, did not come, and are still needed. */
  #owing(): number[] {
    const slices = [...this.#slices.keys()]
    const needed = slices.filter((slice) => !this.#hasMean(slice) || this.#audit?.slice === slice)
    return this.#set.filter(
      (m) =>
        needed.some((slice) => this.#pieces.owes(slice, m)) ||
        (this.#audit?.whole === m && this.#pieces.owes(null, m)),
    )
  }

  #overdue(): void {
    for (const [slice, reducer] of this.#reducers.entries())
      if (!this.#hasMean(slice)) this.#late.add(reducer)
    const attempt = this.#attempt
    const asked = this.#askForOwn()
    if (this.#phase !== 'reducing' || this.#attempt !== attempt) return
    if (asked) this.#nextPhase('reducing', 2 * this.#largest, () => this.#overdue())
    else this.#goOnWithout(this.#owing())
  }

  /** [X3] Of slices whose reducers have gone; who has gone too cannot bring it. True when that is news to somebody. */
  #askForOwn(): boolean {
    let asked = false
    for (const [slice, reducer] of this.#reducers.entries()) {
      const lost = this.#gone.has(reducer) || this.#late.has(reducer)
      if (lost && !this.#hasMean(slice)) for (const m of this.#set) asked = this.#ask(slice, m) || asked
    }
    const cannot = this.#owing().filter((m) => this.#gone.has(m))
    if (cannot.length > 0) this.#goOnWithout(cannot)
    else this.#progress()
    return asked
  }

  /** Of null: everything. */
  #ask(slice: number | null, index: number): boolean {
    const news = this.#pieces.ask(slice, index)
    if (news && !this.#gone.has(index)) this.#tell(index, 'own', { exchange: this.id, slice })
    return news
  }

  #progress(): void {
    if (this.#phase === 'reducing') this.#run(this.#meansOfOwn())
    if (this.#phase === 'auditing') this.#run(this.#compare())
  }

  #run(work: Promise<void>): void {
    work.catch((error: unknown) => this.fail(`The coordinator failed: ${String(error)}`))
  }

  async #meansOfOwn(): Promise<void> {
    const attempt = this.#attempt
    for (const slice of this.#slices.keys()) {
      if (this.#hasMean(slice) || this.#making.has(slice)) continue
      if (!this.#hasAllOwn(slice)) continue
      this.#making.add(slice)
      const mean = await this.#meanOf(slice)
      if (this.#attempt !== attempt) return
      if (mean === null) return this.#goOnWithout(await this.#withoutNumbers(slice))
      this.#pieces.setMean(slice, mean)
    }
    const whole = this.#slices.every((_, slice) => this.#hasMean(slice))
    if (whole && this.#phase === 'reducing') this.#checkByChance()
  }

  #hasMean(slice: number): boolean {
    return this.#pieces.mean(slice) !== undefined
  }

  #hasAllOwn(slice: number): boolean {
    return this.#set.every((index) => this.#pieces.own(slice, index) !== undefined)
  }

  #meanOf(slice: number, set: readonly number[] = this.#set): Promise<string | null> {
    const members = set.map((index) => ({
      hash: this.#pieces.own(slice, index) ?? '',
      weight: this.#offers.get(index)?.weight ?? 0,
    }))
    return this.#ports.sliceMean(this.#slices[slice]?.count ?? 0, members)
  }

  /** Whose own slice is none. */
  async #withoutNumbers(slice: number): Promise<number[]> {
    const set = this.#set
    const means = await Promise.all(set.map((index) => this.#meanOf(slice, [index])))
    return set.filter((_, i) => means[i] === null)
  }

  /** [X6] */
  #checkByChance(): void {
    const { random } = this.#ports
    // Once looked at, always: nobody gets away with it by leaving.
    this.#audited ||= random() < this.#parts.auditRate
    if (!this.#audited) {
      this.#run(this.#settle())
      return
    }
    const pick = (count: number) => Math.min(count - 1, Math.floor(random() * count))
    const full = [...this.#slices.keys()].filter((slice) => this.#slices[slice]?.bytes)
    const slice = full[pick(full.length)] ?? 0
    const whole = this.#set[pick(this.#set.length)] as number // it has two
    this.#audit = { slice, whole }
    const { codec, parameters } = this.#parts
    this.#nextPhase('auditing', 2 * CODECS[codec].byteLength(parameters), () => this.#auditLate())
    for (const m of this.#set) this.#ask(slice, m)
    this.#ask(null, whole)
    this.#askForOwn()
  }

  #auditLate(): void {
    if (this.#audit === null) return // all has come, and is being compared
    const owing = this.#owing()
    for (const index of owing) this.#caught(index, 'did not bring what it had committed to')
    this.#goOnWithout(owing)
  }

  async #compare(): Promise<void> {
    if (this.#audit === null) return
    const { slice, whole } = this.#audit
    const bytes = this.#pieces.own(null, whole)
    if (bytes === undefined || !this.#hasAllOwn(slice)) return
    this.#audit = null
    const attempt = this.#attempt
    const hashes = await this.#ports.sliceHashes(bytes, this.#slices)
    if (hashes.some((hash, s) => hash !== this.#offers.get(whole)?.slices[s])) {
      this.#caught(whole, 'committed to slices that are not those of its contribution')
      return this.#goOnWithout([whole])
    }
    const offer = this.#offers.get(whole)
    if (offer && !(await this.#ports.fits(offer))) {
      this.#caught(whole, 'committed to a contribution that cannot count')
      return this.#goOnWithout([whole])
    }
    if (this.#attempt !== attempt) return
    const mean = await this.#meanOf(slice)
    if (this.#attempt !== attempt) return
    if (mean === null) return this.#goOnWithout(await this.#withoutNumbers(slice))
    if (mean !== this.#pieces.mean(slice)) {
      this.#caught(this.#reducers[slice] ?? -1, 'brought another mean than the members’ own bytes have')
      this.#pieces.setMean(slice, mean)
    }
    await this.#settle()
  }

  #caught(index: number, what: string): void {
    const volunteer = this.#parts.members[index]
    if (volunteer !== undefined) this.#ports.caught(volunteer, what)
  }

  /** [X4] */
  async #settle(): Promise<void> {
    if (this.#phase === 'settling' || this.#phase === 'over') return
    this.#cancelPhase()
    this.#phase = 'settling'
    const slices = this.#slices.flatMap(({ bytes }, slice) =>
      bytes === 0 ? [] : [this.#pieces.mean(slice) ?? ''],
    )
    const members = this.#set.flatMap((index) => this.#offers.get(index) ?? [])
    try {
      const receipts = await this.#ports.settle({ slices, members, bytes: this.#bytes })
      this.#end(receipts, receipts.size > 0 ? 'Accepted.' : 'The mean could not be used.')
    } catch (error) {
      this.#end(new Map(), `The coordinator failed: ${String(error)}`)
    }
  }

  #end(receipts: ReadonlyMap<string, object>, why: string): void {
    const set = new Set(this.#set)
    const left = [...this.#offers.keys()].filter((index) => set.size === 0 || set.has(index))
    this.#phase = 'over'
    this.#succeeded = receipts.size > 0
    this.#cancelPhase()
    this.#cancelAll()
    for (const index of left)
      this.#settled(index, receipts.get(this.#offers.get(index)?.lease ?? '') ?? null, why)
    this.#ports.over()
  }

  #settled(index: number, receipt: object | null, why: string): void {
    this.#tell(index, 'settled', { exchange: this.id, receipt, why })
  }

  #tell(index: number, event: Parameters<ExchangePorts['tell']>[1], message: object): void {
    const volunteer = this.#parts.members[index]
    if (volunteer !== undefined) this.#ports.tell(volunteer, event, message)
  }
}
