/**
 * Groups and exchanges on the running coordinator: gives them sockets, disk, threads and the round machine. What is decided
 * is groups.ts's and exchange.ts's.
 */
import type { Readable } from 'node:stream'
import type { z } from 'zod'
import type { MeshView } from '../../shared/protocol/admin.ts'
import { PotluckError } from '../../shared/protocol/errors.ts'
import type {
  heldSchema,
  linkedSchema,
  offerSchema,
  quitSchema,
  signalSchema,
} from '../../shared/protocol/mesh.ts'
import { type ExchangePiece, MESH_LIMITS, type OfferAnswer } from '../../shared/protocol/mesh.ts'
import type { Receipt } from '../../shared/protocol/run.ts'
import { newId } from '../accounts/secrets.ts'
import type { Aggregator } from '../aggregate/aggregator.ts'
import type { IceConfig } from '../config.ts'
import { leaseFault, weightOf } from '../rounds/contributions.ts'
import type { Clock } from '../rounds/driver.ts'
import type { Effect, GroupMember } from '../rounds/events.ts'
import { hasRoom } from '../rounds/granting.ts'
import { fragmentOf } from '../rounds/schedule.ts'
import type { Machine } from '../rounds/state.ts'
import { boundOf, faultOf } from '../runs/contribution.ts'
import { acceptedReceipt } from '../runs/messages.ts'
import type { Runs } from '../runs/runs.ts'
import type { MetadataStore } from '../store/metadata.ts'
import type { Partials } from '../store/partials.ts'
import { Exchange } from './exchange.ts'
import type { Offer, Result } from './exchangeParts.ts'
import { Exchanges, type UnderWay } from './exchanges.ts'
import { Groups } from './groups.ts'
import { iceServers } from './ice.ts'

export interface MeshParts {
  readonly runs: Runs
  readonly store: MetadataStore
  readonly partials: Partials
  readonly aggregator: Aggregator
  readonly clock: Clock
  readonly ice: IceConfig
  readonly random?: () => number
}

export type MeshEvent = 'group' | 'groupOver' | 'relayed' | 'exchange' | 'reduce' | 'own' | 'settled'
type Tell = (volunteer: string, event: MeshEvent, message: object) => void

export interface SliceName extends ExchangePiece {
  readonly volunteer: string
  readonly exchange: string
}

/** Of one slice on its way to the coordinator. */
export interface SliceUpload extends SliceName {
  readonly sha256: string
  readonly offset: number
  readonly length: number | null
  readonly body: Readable
}

/** Answers to offers that were sound: whoever hears one sends the contribution directly. */
const TOO_LATE = ['another round', 'no time', 'too late']

export class Mesh {
  readonly groups: Groups
  readonly #parts: MeshParts
  readonly #exchanges = new Exchanges()
  readonly #blobs = new Set<string>()
  readonly #counts = { means: 0, failed: 0, contributions: 0 }
  #tell: Tell = () => undefined
  /** The machine, the round under way, and it with its phase, as last seen. */
  #seen: Machine | null = null
  #begun = ''
  #round = ''
  /** Volunteers whose contribution to this round goes directly. */
  readonly #direct = new Set<string>()

  constructor(parts: MeshParts) {
    this.#parts = parts
    const { clock, runs, ice } = parts
    this.groups = new Groups({
      clock,
      tell: (volunteer, event, message) => this.#tell(volunteer, event, message),
      iceServers: (volunteer) => iceServers(ice, volunteer, clock.now()),
      isBusy: (group) => this.#exchanges.of(group) !== undefined,
      isQuiet: () => runs.machine?.phase !== 'training',
      tokensPerSecond: (volunteer) => runs.roster.get(volunteer)?.tokensPerSecond ?? 0,
      changed: () => runs.touch(),
    })
    runs.showMesh({ view: () => this.view, groupOf: (volunteer) => this.groups.of(volunteer) })
    runs.onChange(() => this.#look())
    this.#look()
  }

  /** Through whom volunteers are told. */
  speakThrough(tell: Tell): void {
    this.#tell = tell
  }

  /** Whether a blob is part of an exchange under way. */
  holds(hash: string): boolean {
    return this.#blobs.has(hash)
  }

  get view(): MeshView {
    const groups = this.groups.all()
    return { groups: groups.length, linked: groups.filter(({ linked }) => linked).length, ...this.#counts }
  }

  agree(volunteer: string, on: boolean): void {
    if (on) this.groups.agree(volunteer)
    else this.gone(volunteer, true)
  }

  /** [M1] Who stops or agrees no more `withdraws`; who is gone may have sent all that is needed. */
  gone(volunteer: string, withdraws: boolean): void {
    for (const { exchange } of this.#exchanges.with(volunteer)) exchange.lost(volunteer, withdraws)
    this.groups.leave(volunteer)
  }

  signal(volunteer: string, { group, to, signal }: z.output<typeof signalSchema>): boolean {
    return this.groups.signal(volunteer, group, to, signal)
  }

  linked(volunteer: string, { group, with: others, bytesPerSecond }: z.output<typeof linkedSchema>): void {
    this.groups.linked(volunteer, group, others, bytesPerSecond)
  }

  held(volunteer: string, { exchange, from }: z.output<typeof heldSchema>): void {
    this.#exchanges.get(exchange)?.exchange.held(volunteer, from)
  }

  quit(volunteer: string, { exchange }: z.output<typeof quitSchema>): void {
    this.#exchanges.get(exchange)?.exchange.lost(volunteer, true)
  }

  /** [X1] */
  offer(volunteer: string, offer: z.output<typeof offerSchema>): OfferAnswer {
    const answer = this.#take(volunteer, offer)
    if ('direct' in answer && TOO_LATE.includes(answer.direct)) {
      this.#direct.add(volunteer)
      for (const { exchange } of this.#exchanges.with(volunteer)) exchange.look()
    }
    return answer
  }

  #take(volunteer: string, offer: z.output<typeof offerSchema>): OfferAnswer {
    const { machine } = this.#parts.runs
    const group = this.groups.of(volunteer)
    if (!group?.linked || group.ending || group.id !== offer.group) return { direct: 'no group' }
    const lease = machine?.leases.get(offer.lease)
    if (!machine || !lease || machine.status !== 'running' || machine.phase !== 'training')
      return { direct: 'no round' }
    const fault = leaseFault(machine, lease, { volunteer, steps: offer.steps })
    if (fault !== null) return { direct: fault }
    if (offer.slices.length !== group.members.length) return { direct: 'other slices' }
    const of = this.#exchanges.of(group.id)
    const begun = of && of.round === machine.round && of.era === machine.era ? of.exchange : null
    if (of && !begun) return { direct: 'another round' }
    const exchange = begun ?? this.#begin(group.id, group.members)
    if (exchange === null) return { direct: 'no time' }
    const { sha256, slices, steps, loss } = offer
    const weight = weightOf(machine, lease, steps)
    const taken = exchange.offer(group.members.indexOf(volunteer), {
      ...{ volunteer, lease: offer.lease, steps, loss, sha256, slices, weight },
    })
    return taken ? { exchange: exchange.id } : { direct: 'too late' }
  }

  /** [X6] What a member sent directly cannot count: in a group it would spoil every mean. */
  answered(volunteer: string, receipt: Receipt): void {
    if (receipt.result === 'accepted' || this.groups.of(volunteer) === null) return
    if (receipt.reason === 'not-finite' || receipt.reason === 'too-large-step')
      this.#caught(volunteer, 'sent a contribution that cannot count')
  }

  /** How much of a slice has come. @throws PotluckError `not-found` */
  sliceState(upload: SliceName & Pick<SliceUpload, 'sha256'>): { offset: number; bytes: number } {
    const { bytes } = this.#expected(upload)
    return { offset: this.#parts.partials.committed(partName(upload), upload.sha256), bytes }
  }

  /** @throws PotluckError `not-found`, `bad-request`; IncompleteError when more has to come */
  async receiveSlice(upload: SliceUpload): Promise<void> {
    const { exchange, uploads, bytes } = this.#expected(upload)
    const { sha256, offset, length, body, volunteer } = upload
    if (length !== null && offset + length !== bytes)
      throw new PotluckError('bad-request', 'The slice has another length.', 422)
    const lease = partName(upload)
    uploads.add(lease)
    this.#blobs.add(sha256)
    const fault = faultOf(await this.#parts.partials.receive(body, { lease, hash: sha256, bytes, offset }))
    if (fault !== null) throw new PotluckError('bad-request', `The slice cannot be used: ${fault}.`, 422)
    await this.#note(sha256)
    exchange.arrived(volunteer, upload, sha256, bytes)
  }

  close(): void {
    this.groups.close()
    for (const { exchange } of this.#exchanges.all()) exchange.fail('The coordinator is stopping.')
  }

  #expected(upload: SliceName & Pick<SliceUpload, 'sha256'>) {
    const one = this.#exchanges.get(upload.exchange)
    const expected = one?.exchange.expects(upload.volunteer, upload)
    if (!one || !expected) throw new PotluckError('not-found', 'Nobody waits for this slice.', 404)
    if (expected.hash !== null && expected.hash !== upload.sha256)
      throw new PotluckError('bad-request', 'These are not the bytes that were committed to.', 422)
    return { ...one, bytes: expected.bytes }
  }

  #begin(group: string, members: readonly string[]): Exchange | null {
    const { runs, clock, aggregator, random = Math.random } = this.#parts
    const machine = runs.machine
    if (!machine) return null
    const now = clock.now()
    const left = (machine.deadlineAt ?? now) - now
    const until = now + MESH_LIMITS.shareOfDeadline * left
    if (until - now < 1_000) return null
    const id = newId()
    const { codec, auditRate } = machine.config
    const { parameters } = fragmentOf(machine, machine.round).base
    const { round, era } = machine
    const exchange = new Exchange(
      { id, group, members, codec, parameters, auditRate, until },
      {
        clock,
        random,
        tell: (volunteer, event, message) => this.#tellOfExchange(volunteer, event, message),
        coming: (volunteer) => this.#coming(volunteer),
        sliceMean: (count, parts) => this.#sliceMean({ codec, count, members: parts }),
        sliceHashes: (hash, slices) => aggregator.sliceHashes({ hash, slices }),
        fits: async (offer) => {
          const bound = runs.machine ? memberBound(runs.machine, offer) : 0
          if (bound === 0) return true // its lease is over, and settle finds that out
          return (await aggregator.check({ hash: offer.sha256, parameters, codec, bound })) === null
        },
        settle: (result) => this.#settle(result, { round, era }),
        caught: (volunteer, what) => this.#caught(volunteer, what),
        over: () => this.#over(id),
      },
    )
    this.#exchanges.add({ exchange, group, members, round, era, uploads: new Set() })
    return exchange
  }

  async #sliceMean(mean: Parameters<Aggregator['sliceMean']>[0]): Promise<string | null> {
    const hash = await this.#parts.aggregator.sliceMean(mean)
    if (hash !== null) {
      this.#blobs.add(hash)
      await this.#note(hash)
    }
    return hash
  }

  /** So that it is not forgotten on disk should nothing come of it. */
  async #note(hash: string): Promise<void> {
    const run = this.#parts.runs.machine?.run
    if (run !== undefined) await this.#parts.store.noteFiles([{ run, store: 'vault', hash }])
  }

  /** [X4] */
  async #settle({ slices, members, bytes }: Result, of: { round: number; era: number }) {
    const { runs, aggregator, clock } = this.#parts
    const { driver } = runs
    const none = new Map<string, object>()
    const machine = driver?.machine
    if (!driver || !machine || machine.round !== of.round || machine.era !== of.era) return none
    const mean = await aggregator.join(slices)
    this.#blobs.add(mean)
    await this.#note(mean)
    const { parameters } = fragmentOf(machine, machine.round).base
    const bound = Math.max(...members.map((member) => memberBound(machine, member)))
    const fault = await aggregator.check({ hash: mean, parameters, codec: machine.config.codec, bound })
    if (fault !== null) return none
    const share = Math.ceil(bytes / members.length)
    const event = {
      type: 'group' as const,
      mean,
      members: members.map(
        ({ volunteer, lease, steps, loss, sha256, weight }): GroupMember => ({
          ...{ volunteer, lease, steps, trainLoss: loss, hash: sha256, weight, bytes: share },
        }),
      ),
      now: clock.now(),
    }
    const effects = await driver.dispatch(event)
    const accepted = effects.filter((e): e is Extract<Effect, { type: 'accepted' }> => e.type === 'accepted')
    for (const { lease, contribution } of accepted) {
      none.set(lease, acceptedReceipt(lease, of.round, contribution.tokens))
    }
    this.#counts.contributions += accepted.length
    return none
  }

  #caught(volunteer: string, what: string): void {
    this.groups.distrust(volunteer)
    this.#parts.runs.problems.report(
      'mesh-dishonest',
      `A volunteer (${volunteer}) ${what}. It is in no group any more.`,
    )
  }

  #over(id: string): void {
    const one = this.#exchanges.get(id)
    if (!one) return
    this.#exchanges.delete(one)
    if (one.exchange.succeeded) this.#counts.means += 1
    else this.#counts.failed += 1
    this.#drop(one.uploads)
    if (this.#exchanges.size === 0) this.#blobs.clear()
    this.groups.idle(one.group)
    this.#parts.runs.touch()
  }

  /** Nothing waits for these uploads any more. */
  #drop(uploads: Iterable<string>): void {
    this.#parts.partials.drop(uploads).catch((error: unknown) => {
      this.#parts.runs.problems.report(
        'internal',
        `Parts of an exchange could not be removed: ${String(error)}`,
      )
    })
  }

  /** Who is told to send directly does so, and offers nothing more in this round. */
  #tellOfExchange(volunteer: string, event: MeshEvent, message: object): void {
    if (event === 'settled' && 'receipt' in message && message.receipt === null) this.#direct.add(volunteer)
    this.#tell(volunteer, event, message)
  }

  /** [X1] */
  #coming(volunteer: string): boolean {
    const { machine } = this.#parts.runs
    if (!machine || this.#direct.has(volunteer)) return false
    const { leases, contributed, round } = machine
    if (leases.of(volunteer).some(([, lease]) => lease.round === round)) return true
    return hasRoom(machine, round) && !contributed.has(volunteer)
  }

  /** What the run's changes mean for groups and exchanges. */
  #look(): void {
    const { machine } = this.#parts.runs
    const serving = machine !== null && ['ready', 'running', 'paused'].includes(machine.status)
    this.groups.serve(serving ? { id: machine.run, size: machine.config.groupSize } : null)
    const now = machine ? `${machine.run} ${machine.era} ${machine.round}` : ''
    const round = `${now} ${machine?.phase}`
    const before = this.#seen
    this.#seen = machine
    const isOther = round !== this.#round
    for (const { exchange, round, era } of isOther ? this.#exchanges.all() : []) {
      const open = machine?.round === round && machine.era === era && machine.phase === 'training'
      if (!open) exchange.fail('The round is over.')
    }
    if (now !== this.#begun) this.#direct.clear()
    this.#begun = now
    const concerned = isOther ? this.#exchanges.all() : this.#concerned(before, machine)
    for (const { exchange } of concerned) exchange.look()
    if (!isOther) return
    this.#round = round
    if (machine?.phase === 'training') this.groups.regroup()
  }

  /** Exchanges in which somebody may be expected no more, of whom a lease has ended or who can get none now. */
  #concerned(before: Machine | null, machine: Machine | null): Iterable<UnderWay> {
    if (before === null || machine === null || before.leases === machine.leases) return []
    if (hasRoom(before, before.round) && !hasRoom(machine, machine.round)) return this.#exchanges.all()
    const ended = [...machine.leases.byId.since(before.leases.byId)].flatMap((lease) => lease.before ?? [])
    return ended.flatMap(({ volunteer }) => this.#exchanges.with(volunteer))
  }
}

function memberBound(machine: Machine, { lease, steps }: Offer): number {
  const open = machine.leases.get(lease)
  return open ? boundOf(machine, open, steps) : 0
}

/** Of an upload, as Partials names them. */
const partName = ({ exchange, slice, kind, attempt, volunteer }: SliceName) =>
  kind === 'mean'
    ? `${exchange}_m${slice}a${attempt}`
    : `${exchange}_${kind[0]}${slice}${volunteer.slice(0, 12)}`
