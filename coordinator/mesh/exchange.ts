/**
 * One exchange of one group in one round, from the first offer to the accepted mean: X1 to X6 of RULES.md. It knows
 * neither sockets nor disks; mesh.ts gives it both.
 */
import { CODECS, type CodecName } from '../../shared/codec/codec.ts'
import { type Slice, slicesOf } from '../../shared/mesh/slices.ts'
import { type ExchangeMessage, MESH_LIMITS, type ReduceMessage } from '../../shared/protocol/mesh.ts'
import type { Clock } from '../rounds/driver.ts'

export interface Offer {
  readonly volunteer: string
  readonly lease: string
  readonly steps: number
  readonly loss: number
  /** Of the whole contribution, and of each slice. */
  readonly sha256: string
  readonly slices: readonly string[]
  /** Tokens, by L9. */
  readonly weight: number
}

export type Kind = 'mean' | 'own' | 'whole'

export interface Result {
  /** One a slice, in order. */
  readonly slices: readonly string[]
  readonly members: readonly Offer[]
  /** That came to the coordinator for it. */
  readonly bytes: number
}

export interface ExchangePorts {
  readonly clock: Clock
  readonly random: () => number
  tell(volunteer: string, event: 'exchange' | 'reduce' | 'own' | 'settled', message: object): void
  /** Whether an offer of this member may still come: it has an open lease of the round, or may get one. */
  coming(volunteer: string): boolean
  /** Mean of a slice from blobs that have come; null when one is no slice. */
  sliceMean(count: number, members: readonly { hash: string; weight: number }[]): Promise<string | null>
  sliceHashes(hash: string, slices: readonly Slice[]): Promise<string[]>
  /** Whether this member's whole contribution, sent directly, could count. */
  fits(offer: Offer): Promise<boolean>
  /** Makes one contribution of it; by lease, the receipt of who is accepted. Empty when it is not to be. */
  settle(result: Result): Promise<ReadonlyMap<string, object>>
  /** [X6] */
  caught(volunteer: string, what: string): void
  /** Nothing more will come of it. */
  over(): void
}

export interface ExchangeParts {
  readonly id: string
  readonly group: string
  readonly members: readonly string[]
  readonly codec: CodecName
  readonly parameters: number
  readonly auditRate: number
  /** Unix milliseconds at which the exchange is given up at the latest. */
  readonly until: number
}

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
  /** `kind slice member` of what has come, with its hash. */
  readonly #came = new Map<string, string>()
  readonly #asked = new Set<string>()
  #reducers: number[] = []
  #set: number[] = []
  #phase: Phase = 'gathering'
  #bytes = 0
  #succeeded = false
  #audit: { slice: number; whole: number } | null = null
  #cancelPhase: () => void = () => undefined
  readonly #cancelAll: () => void

  constructor(parts: ExchangeParts, ports: ExchangePorts) {
    this.id = parts.id
    this.#parts = parts
    this.#ports = ports
    this.#slices = slicesOf(parts.parameters, parts.members.length, parts.codec)
    for (const [slice, { bytes }] of this.#slices.entries()) {
      if (bytes === 0) this.#came.set(nameOf('mean', slice, -1), '') // nothing to bring
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
    if (withdraws && this.#set.includes(index)) this.fail('A member has withdrawn.')
    if (this.#gone.has(index)) return
    this.#gone.add(index)
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
  expects(volunteer: string, kind: Kind, slice: number): { bytes: number; hash: string | null } | null {
    const index = this.#parts.members.indexOf(volunteer)
    const { bytes } = this.#slices[slice] ?? { bytes: 0 }
    const offer = this.#offers.get(index)
    if (!offer || (this.#phase !== 'reducing' && this.#phase !== 'auditing')) return null
    if (kind === 'mean') {
      const hash = this.#came.get(nameOf('mean', slice, -1)) ?? null // another one is no use any more
      return this.#reducers[slice] === index ? { bytes, hash } : null
    }
    if (!this.#asked.has(nameOf(kind, slice, index))) return null
    if (kind === 'own') return { bytes, hash: offer.slices[slice] ?? null }
    const { codec, parameters } = this.#parts
    return { bytes: CODECS[codec].byteLength(parameters), hash: offer.sha256 }
  }

  /** The bytes are in the vault. */
  arrived(volunteer: string, kind: Kind, slice: number, hash: string, bytes: number): void {
    const index = this.#parts.members.indexOf(volunteer)
    const name = nameOf(kind, slice, kind === 'mean' ? -1 : index)
    if (this.#came.has(name)) return
    this.#came.set(name, hash)
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

  /** [X2] Fixes the set, and has it reduced. */
  #reduce(): void {
    if (this.#phase !== 'scattering') return
    this.#set = this.#bestSet()
    if (this.#set.length < 2) {
      this.fail('Too few slices came through.')
      return
    }
    this.#nextPhase('reducing', 2 * this.#largest, () => this.#lateReducers())
    const set = this.#set.map((index) => ({ index, weight: this.#offers.get(index)?.weight ?? 0 }))
    const message: ReduceMessage = { exchange: this.id, set }
    for (const index of this.#liveReducers()) {
      if (this.#set.includes(index)) this.#tell(index, 'reduce', message)
      else this.#late.add(index) // it sends directly, and owes nothing
    }
    for (const index of this.#offers.keys()) {
      if (!this.#set.includes(index)) this.#settled(index, null, 'Its slices did not come through.')
    }
    this.#askForOwn()
  }

  /** The largest set whose slices are all held by every reducer that counts; one that holds too little does not. */
  #bestSet(): number[] {
    const reducers = this.#liveReducers().filter((index) => this.#held.has(index))
    reducers.sort((a, b) => (this.#held.get(b)?.size ?? 0) - (this.#held.get(a)?.size ?? 0))
    const offered = this.#present().sort((a, b) => a - b)
    for (; reducers.length > 0; reducers.pop()) {
      const set = offered.filter((m) => reducers.every((one) => this.#held.get(one)?.has(m)))
      if (set.length < 2) continue
      for (const index of this.#liveReducers()) if (!reducers.includes(index)) this.#late.add(index)
      return set
    }
    return []
  }

  /** Reducers of which nothing more is expected. */
  readonly #late = new Set<number>()

  #lateReducers(): void {
    const before = this.#asked.size
    for (const [slice, reducer] of this.#reducers.entries()) {
      if (!this.#came.has(nameOf('mean', slice, -1))) this.#late.add(reducer)
    }
    this.#askForOwn()
    if (this.#asked.size === before) this.fail('A slice did not come.')
    if (this.#phase !== 'reducing') return
    this.#nextPhase('reducing', 2 * this.#largest, () => this.fail('A slice did not come.'))
  }

  /** [X3] Of slices whose reducers have gone. */
  #askForOwn(): void {
    for (const [slice, reducer] of this.#reducers.entries()) {
      const lost = this.#gone.has(reducer) || this.#late.has(reducer)
      if (lost && !this.#came.has(nameOf('mean', slice, -1))) this.#ask(slice)
    }
    const cannot = this.#set.some((m) => {
      const owes = (slice: number) =>
        this.#asked.has(nameOf('own', slice, m)) && !this.#came.has(nameOf('own', slice, m))
      return this.#gone.has(m) && [...this.#slices.keys()].some(owes)
    })
    if (cannot) this.fail('A member has gone whose slice is needed.')
    else this.#progress()
  }

  #ask(slice: number): void {
    for (const index of this.#set) {
      const name = nameOf('own', slice, index)
      if (this.#asked.has(name)) continue
      this.#asked.add(name)
      this.#tell(index, 'own', { exchange: this.id, slice })
    }
  }

  #progress(): void {
    if (this.#phase === 'reducing') this.#run(this.#meansOfOwn())
    if (this.#phase === 'auditing') this.#run(this.#compare())
  }

  #run(work: Promise<void>): void {
    work.catch((error: unknown) => this.fail(`The coordinator failed: ${String(error)}`))
  }

  readonly #making = new Set<number>()

  async #meansOfOwn(): Promise<void> {
    for (const slice of this.#slices.keys()) {
      if (this.#came.has(nameOf('mean', slice, -1)) || this.#making.has(slice)) continue
      if (!this.#set.every((index) => this.#came.has(nameOf('own', slice, index)))) continue
      this.#making.add(slice)
      const mean = await this.#meanOf(slice)
      if (mean === null) return this.fail('A slice holds no numbers.')
      this.#came.set(nameOf('mean', slice, -1), mean)
    }
    const whole = this.#slices.every((_, slice) => this.#came.has(nameOf('mean', slice, -1)))
    if (whole && this.#phase === 'reducing') this.#checkByChance()
  }

  #meanOf(slice: number): Promise<string | null> {
    const members = this.#set.map((index) => ({
      hash: this.#came.get(nameOf('own', slice, index)) ?? '',
      weight: this.#offers.get(index)?.weight ?? 0,
    }))
    return this.#ports.sliceMean(this.#slices[slice]?.count ?? 0, members)
  }

  /** [X6] */
  #checkByChance(): void {
    const { random } = this.#ports
    if (random() >= this.#parts.auditRate) {
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
    this.#ask(slice)
    this.#asked.add(nameOf('whole', 0, whole))
    this.#tell(whole, 'own', { exchange: this.id, slice: null })
    this.#progress()
  }

  #auditLate(): void {
    if (this.#audit === null) return // all has come, and is being compared
    const { slice, whole } = this.#audit
    for (const index of this.#set) {
      const owes = !this.#came.has(nameOf('own', slice, index))
      if (owes || (index === whole && !this.#came.has(nameOf('whole', 0, index))))
        this.#caught(index, 'did not bring what it had committed to')
    }
    this.fail('Not everybody brought what they had committed to.')
  }

  async #compare(): Promise<void> {
    if (this.#audit === null) return
    const { slice, whole } = this.#audit
    const bytes = this.#came.get(nameOf('whole', 0, whole))
    if (bytes === undefined || !this.#set.every((m) => this.#came.has(nameOf('own', slice, m)))) return
    this.#audit = null
    const hashes = await this.#ports.sliceHashes(bytes, this.#slices)
    if (hashes.some((hash, s) => hash !== this.#offers.get(whole)?.slices[s])) {
      this.#caught(whole, 'committed to slices that are not those of its contribution')
      return this.fail('A member had other bytes than it had committed to.')
    }
    const offer = this.#offers.get(whole)
    if (offer && !(await this.#ports.fits(offer))) {
      this.#caught(whole, 'committed to a contribution that cannot count')
      return this.fail('A member’s contribution cannot count.')
    }
    const mean = await this.#meanOf(slice)
    if (mean === null) return this.fail('A slice holds no numbers.')
    const name = nameOf('mean', slice, -1)
    if (mean !== this.#came.get(name)) {
      this.#caught(this.#reducers[slice] ?? -1, 'brought another mean than the members’ own bytes have')
      this.#came.set(name, mean)
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
      bytes === 0 ? [] : [this.#came.get(nameOf('mean', slice, -1)) ?? ''],
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

const nameOf = (kind: Kind, slice: number, member: number): string => `${kind} ${slice} ${member}`
