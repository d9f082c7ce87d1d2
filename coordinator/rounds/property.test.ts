/**
 * The round machine's promises under random events: the real driver, machine and SQLite store, honest tabs with real
 * parameters among crashes, lies, lost answers, clocks that jump and a coordinator that falls. The seed is the test's
 * name. property/ has the parts: house.ts the coordinator, tab.ts the volunteers, ledger.ts the promises after every
 * event, recount.ts those at the end. Single rules by example are in machine.test.ts.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { RejectionReason } from '../../shared/protocol/run.ts'

import { USUAL_TASKS } from '../../shared/protocol/tasks.ts'
import { Book } from './book.ts'
import { weightOf } from './contributions.ts'
import type { Content, Effect, RoundEvent } from './events.ts'
import { reduce } from './machine.ts'

import { Chance } from './property/chance.ts'
import { House } from './property/house.ts'
import { Ledger, must } from './property/ledger.ts'
import { recount } from './property/recount.ts'
import { Tab, type Upload, VALUES } from './property/tab.ts'
import { Vectors } from './property/vectors.ts'
import { freshMachine, type Machine } from './state.ts'

const SEEDS = 24
const EVENTS = 700
const VOLUNTEERS = 5
/** Laps of everybody's best behaviour within which a round closes: one deadline may have to be put off first. */
const FAIR_LAPS = 3
const HOUR = 3_600_000

function firstMachine(chance: Chance, vectors: Vectors): Machine {
  const fragments = chance.between(1, 4)
  const replicas = chance.between(1, 4)
  return freshMachine({
    run: 'run-00001',
    config: {
      name: 'test',
      preset: 'micro',
      corpus: null,
      innerSteps: fragments * chance.between(1, 4),
      batchSize: chance.between(1, 3),
      replicas,
      quorum: chance.between(1, replicas),
      deadlineSeconds: chance.between(5, 60),
      rounds: chance.of(0.2) ? chance.between(1, 20) : 1_000,
      innerLearningRate: 1e-3,
      outerLearningRate: chance.of(0.5) ? 'auto' : 0.7,
      outerMomentum: chance.of(0.8) ? 0.9 : 0,
      seed: '',
      fragments,
      codec: 'f32',
      downlink: chance.of(0.5) ? 'f16' : 'f32',
      errorFeedback: 0,
      checkpoints: { last: 100, every: 1, best: 0 },
      tasks: USUAL_TASKS,
      overlap: chance.of(0.6),
      strict: chance.of(0.2),
      groupSize: 1,
      auditRate: 0,
      evaluation: 'auto',
    },
    sequenceLength: 8,
    sequencesPerEpoch: chance.between(3, 60),
    fragments: Array.from({ length: fragments }, () => {
      const weights = vectors.put(values(chance))
      return { parameters: VALUES, weights, exact: null, velocity: null, largest: 1 }
    }),
  })
}

const values = (chance: Chance) => Float32Array.from({ length: VALUES }, () => chance.number() - 0.5)

type Receipt = 'accepted' | 'rejected' | 'none'

const MOVES = {
  goOn: 0,
  disconnect: 3,
  stop: 2,
  crash: 4,
  engineFault: 3,
  lostAnswer: 4,
  wrongAfter: 2,
  stray: 5,
  group: 8,
  early: 2,
  impostor: 2,
  junk: 2,
  unfit: 0,
  pause: 0.5,
  resume: 3,
  end: 0.02,
  rollBack: 0.4,
  tick: 2,
  jump: 2,
  mergeWell: 12,
  mergeBadly: 2,
  mergedAgain: 1,
  restart: 3,
  fault: 3,
  remove: 1,
}
type Move = keyof typeof MOVES
/** The share of honest work differs from seed to seed: long chains of rounds need calm, rare turns need trouble. */
const CALM = [60, 150, 400] as const
/** And so does the share of contributions that turn out unfit. */
const UNFIT = [4, 4, 80] as const

/** One run with its volunteers; `move` makes the next random event. */
class World {
  readonly chance: Chance
  readonly vectors = new Vectors()
  readonly ledger = new Ledger()
  readonly first: Machine
  readonly tabs: Tab[]
  readonly #moves: Readonly<Record<Move, number>>
  readonly #file: string
  /** Bytes that come again, or after their tab has forgotten them. */
  readonly #strays: Upload[] = []
  #house: House | null = null
  #leases = 0

  constructor(seed: string, file: string) {
    this.chance = new Chance(seed)
    this.#file = file
    this.first = firstMachine(this.chance, this.vectors)
    this.#moves = { ...MOVES, goOn: this.chance.pick(CALM) ?? 0, unfit: this.chance.pick(UNFIT) ?? 0 }
    this.tabs = Array.from(
      { length: this.chance.between(Math.max(2, this.first.config.replicas), VOLUNTEERS) },
      (_, i) => new Tab(`tab-${1_000 + i}`, this.first, this.vectors, this.chance),
    )
  }

  async open(): Promise<void> {
    const onDurable = (machine: Machine, effects: readonly Effect[]) => this.ledger.record(machine, effects)
    const parts = { file: this.#file, vectors: this.vectors, onDurable }
    this.#house = await House.open(
      parts,
      this.first,
      this.tabs.map(({ id }) => id),
    )
    await this.house.send({ type: 'start', now: this.house.now })
  }

  get house(): House {
    if (this.#house === null) throw new Error('not open')
    return this.#house
  }

  get machine(): Machine {
    return this.house.machine
  }

  async move(): Promise<void> {
    await this.house.pass(this.chance.between(0, 500))
    await this.#make(this.chance.weighted(this.#moves), this.chance.pick(this.tabs) as Tab) // there are tabs
    this.ledger.check(this.machine, this.house.now)
  }

  async #make(move: Move, tab: Tab): Promise<void> {
    const { house, chance } = this
    const { now } = house
    switch (move) {
      case 'goOn':
        if (house.merges.length > 0 && chance.of(0.3)) return house.mergeEnds('well')
        for (const each of [tab, tab, chance.pick(this.tabs) ?? tab]) await this.#goOn(each)
        return
      case 'disconnect':
        tab.joined = false
        return this.#send({ type: 'disconnect', volunteer: tab.id, now })
      case 'stop':
        return this.#stop(tab)
      case 'crash':
        this.#forget(tab)
        if (chance.of(0.7)) await this.#send({ type: 'disconnect', volunteer: tab.id, now })
        return
      case 'engineFault':
        return this.#engineFault(tab)
      case 'lostAnswer':
        if (tab.turn === null && tab.joined) await this.#ask(tab, tab.after)
        return
      case 'wrongAfter':
        return this.#askWrongly(tab)
      case 'stray': {
        const stray = chance.pick(this.#strays)
        if (stray) await this.#settleFor(stray)
        return
      }
      case 'group':
        return this.#group()
      case 'early':
        return this.#early(tab)
      case 'impostor':
        return this.#impostor(tab)
      case 'junk':
        return this.#junk(tab)
      case 'unfit':
        return this.#unfit(chance.pick(this.tabs.filter(({ upload }) => upload !== null)) ?? tab)
      case 'pause':
      case 'resume':
      case 'end':
      case 'tick':
        return this.#send({ type: move, now })
      case 'rollBack':
        return this.#rollBack()
      case 'jump':
        house.fault = null // the clock is looked at with the next event that counts
        await house.pass(chance.pick([HOUR, 5 * HOUR, -HOUR, -3_000, -60_000]) ?? 0)
        return this.#send({ type: 'tick', now: house.now })
      case 'mergeWell':
        return house.mergeEnds('well')
      case 'mergeBadly':
        return house.mergeEnds('badly')
      case 'mergedAgain':
        return this.#mergedAgain()
      case 'restart':
        return this.#restart()
      case 'fault':
        house.fault = chance.of(0.5) ? 'before' : 'after'
        return
      case 'remove':
        this.#forget(tab)
        return this.#send({ type: 'remove', volunteer: tab.id, now })
      default:
        move satisfies never
    }
  }

  async #send(event: RoundEvent): Promise<void> {
    await this.house.send(event)
  }

  /** What an honest tab does next. */
  async #goOn(tab: Tab): Promise<void> {
    const { chance, machine, house } = this
    const { turn, upload } = tab
    if (!tab.joined) {
      tab.joined = true
      return this.#send({ type: 'join', volunteer: tab.id, tokensPerSecond: tab.speed, now: house.now })
    }
    const over = turn !== null && (machine.era > turn.era || machine.round > turn.round)
    if (turn !== null && over && (!turn.inPlace || chance.of(0.8))) {
      return tab.drop() // it has heard of the newer round
    }
    if (tab.canPlace(machine) && chance.of(0.6)) return tab.place(machine)
    if (turn !== null && tab.trains && chance.of(0.7)) {
      return tab.train(chance.of(0.6) ? turn.steps - turn.done : chance.between(1, turn.steps - turn.done))
    }
    if (turn !== null && tab.finished && (turn.done === turn.steps || chance.of(0.3)))
      return this.#finish(tab)
    if (upload !== null && (turn !== null || !machine.config.overlap || chance.of(0.5))) {
      return this.#deliver(tab, upload)
    }
    if (turn !== null) return
    const granted = await this.#ask(tab, tab.after)
    if (granted) tab.take(granted.id, granted.lease, machine.era)
  }

  #finish(tab: Tab): void {
    const upload = tab.contribute()
    if (upload.honest) this.ledger.honest.set(upload.hash, upload.honest)
    if (this.chance.of(0.1)) this.#strays.push(upload)
  }

  async #ask(tab: Tab, after: string | null): Promise<Extract<Effect, { type: 'granted' }> | null> {
    const id = `lease-${10_000 + this.#leases++}`
    const asked = { volunteer: tab.id, id, after, tokensPerSecond: tab.speed, told: this.#news() }
    const effects = await this.house.send({ type: 'request', ...asked, now: this.house.now })
    if (effects === null) return null
    const answers = effects.filter(({ type }) => type === 'granted' || type === 'wait')
    must(answers.length === 1, 'a request has one answer')
    const [answer] = answers
    return answer?.type === 'granted' ? answer : null
  }

  /** What another tab has told of its speed meanwhile, if anything. */
  #news(): Book<number> {
    const tab = this.chance.of(0.2) ? this.chance.pick(this.tabs) : null
    if (tab?.speed == null) return Book.of<number>([])
    tab.speed = this.chance.between(1, 40)
    return Book.of([[tab.id, tab.speed]])
  }

  /** Names a lease that is not its own; what it then trains begins at the global weights. */
  async #askWrongly(tab: Tab): Promise<void> {
    tab.drop()
    const others = [...this.ledger.leases].flatMap(([id, lease]) => (lease.volunteer === tab.id ? [] : [id]))
    const granted = await this.#ask(tab, this.chance.pick([...others, 'lease-none']))
    if (granted) tab.take(granted.id, granted.lease, this.machine.era)
  }

  async #deliver(tab: Tab, upload: Upload): Promise<void> {
    const receipt = await this.#receive(upload)
    if (receipt === 'none' || this.chance.of(0.1)) return // it sends the same bytes again
    tab.settle(upload.lease, receipt)
  }

  /** Bytes whose sender may still be there to hear what became of them, and may not. */
  async #settleFor(upload: Upload): Promise<void> {
    const tab = this.tabs.find(({ id }) => id === upload.volunteer)
    if (tab?.upload?.hash === upload.hash) await this.#deliver(tab, upload)
    else await this.#receive(upload)
  }

  /** As runs/contribution.ts does: an open lease's bytes go to the machine, of the others the store knows. */
  async #receive({ lease, volunteer, hash, steps }: Upload): Promise<Receipt> {
    const { house, machine, chance } = this
    const open = machine.leases.get(lease)
    if (!open || chance.of(0.05)) {
      const before = await house.store.contribution(lease)
      if (before?.result === 'accepted' && before.hash === hash) return 'accepted'
    }
    if (!open && chance.of(0.5)) {
      const { accepted, discarded } = this.ledger
      const answered = accepted.has(lease) || discarded.accepted.has(lease)
      const reason: RejectionReason = answered ? 'duplicate' : 'stale'
      await this.#send({ type: 'unfit', volunteer, lease, reason, hash: null, now: house.now })
      return 'rejected'
    }
    const content: Content = { hash, bytes: 4 * VALUES, steps, trainLoss: 5 }
    const effects = await house.send({ type: 'contribution', volunteer, lease, content, now: house.now })
    if (effects === null) return 'none'
    const refused = effects.find((effect) => effect.type === 'refused')
    if (refused?.type === 'refused') return refused.reason === 'early' ? 'none' : 'rejected'
    must(this.ledger.accepted.get(lease)?.hash === hash, 'an answer for every contribution')
    return 'accepted'
  }

  /** [G1] Tabs that have their bytes ready bring their mean; sometimes one of them has nothing to bring any more. */
  async #group(): Promise<void> {
    const { machine, house, chance } = this
    const ready = this.tabs.flatMap((tab) => {
      const lease = machine.leases.get(tab.upload?.lease ?? '')
      return tab.upload && lease?.round === machine.round && lease.volunteer === tab.id
        ? [{ tab, upload: tab.upload, lease }]
        : []
    })
    if (ready.length < 2) return
    const weighed = ready.map(({ upload, lease }) => ({
      ...upload,
      weight: weightOf(machine, lease, upload.steps),
    }))
    const total = weighed.reduce((sum, { weight }) => sum + weight, 0)
    const mean = new Float32Array(VALUES)
    for (const { hash, weight } of weighed)
      this.vectors.get(hash).forEach((value, i) => {
        mean[i] = (mean[i] as number) + (value * weight) / total
      })
    const spoilt = chance.of(0.2)
    const members = weighed.map(({ lease, volunteer, hash, steps, weight }, i) => ({
      ...{ lease, volunteer, hash, steps, trainLoss: 5, bytes: VALUES },
      weight: spoilt && i === 0 ? weight + 1 : weight,
    }))
    const event = { type: 'group', mean: this.vectors.put(mean), members, now: house.now } as const
    const effects = await house.send(event)
    if (effects === null) return
    const accepted = effects.filter(({ type }) => type === 'accepted').length
    must(accepted === (spoilt ? 0 : members.length), '[G1] all of a group or none')
    if (!spoilt) for (const { tab, upload } of ready) tab.settle(upload.lease, 'accepted')
  }

  async #stop(tab: Tab): Promise<void> {
    const { now } = this.house
    const lease = tab.turn?.lease
    this.#forget(tab)
    if (lease !== undefined) await this.#send({ type: 'release', volunteer: tab.id, lease, now })
    await this.#send({ type: 'leave', volunteer: tab.id, now })
  }

  /** A reload: what was on its way may have come whole already. */
  #forget(tab: Tab): void {
    const upload = tab.crash()
    if (upload && this.chance.of(0.6)) this.#strays.push(upload)
  }

  /** The parameters are lost, and the lease is given back; what was sent is on its way still. */
  async #engineFault(tab: Tab): Promise<void> {
    const lease = tab.turn?.lease
    tab.drop()
    if (lease === undefined || this.chance.of(0.4)) return
    await this.#send({ type: 'release', volunteer: tab.id, lease, now: this.house.now })
  }

  async #early(tab: Tab): Promise<void> {
    const ahead = this.machine.leases.of(tab.id).find(([, lease]) => lease.round > this.machine.round)
    if (!ahead) return
    const receipt = await this.#receive(this.#madeUp(tab.id, ahead[0]))
    must(receipt === 'none', '[L10] a contribution ahead of its round is early')
  }

  async #impostor(tab: Tab): Promise<void> {
    const others = [...this.machine.leases.byId.entries()].filter(([, lease]) => lease.volunteer !== tab.id)
    const one = this.chance.pick(others)
    if (one) await this.#receive(this.#madeUp(tab.id, one[0]))
  }

  /** Other bytes for a lease that the tab has, has sent, or had. */
  async #junk(tab: Tab): Promise<void> {
    const had = [...this.ledger.leases].filter(
      ([, { volunteer, end }]) => volunteer === tab.id && end !== null,
    )
    const has = [tab.turn?.lease, tab.upload?.lease].flatMap((lease) => lease ?? [])
    const lease = this.chance.pick([...has, ...has, ...had.slice(-2).map(([id]) => id)])
    if (lease === null) return
    const receipt = await this.#receive(this.#madeUp(tab.id, lease))
    if (receipt === 'accepted') this.#forget(tab) // it is that tab now, and has no honest replica
  }

  #madeUp(volunteer: string, lease: string): Upload {
    const hash = this.vectors.put(values(this.chance))
    const steps = this.chance.between(1, (this.ledger.leases.get(lease)?.steps ?? 1) + 1)
    return { volunteer, lease, hash, steps, honest: null }
  }

  async #unfit(tab: Tab): Promise<void> {
    const { upload } = tab
    if (upload === null || !this.machine.leases.get(upload.lease)) return
    const { volunteer, lease, hash } = upload
    const reason = this.chance.of(0.5) ? 'not-finite' : 'hash-mismatch'
    const now = this.house.now
    const effects = await this.house.send({ type: 'unfit', volunteer, lease, reason, hash, now })
    if (effects !== null && reason === 'not-finite') tab.settle(lease, 'rejected')
  }

  /** [B1] To any round that stands; mostly to one of the newest. */
  async #rollBack(): Promise<void> {
    const { house, machine, chance } = this
    const kept = await house.store.checkpoints(machine.run)
    const found = chance.pick(chance.of(0.7) ? kept.slice(-3) : kept)
    if (!found) throw new Error('There is no checkpoint, not even of the first weights.')
    const { round, fragments, pool } = found
    await this.#send({ type: 'roll-back', to: { round, fragments, pool }, now: house.now })
  }

  async #mergedAgain(): Promise<void> {
    const closed = this.chance.pick([...this.ledger.closed, ...this.ledger.discarded.closed])
    if (!closed) return
    const { round, after: base, delta } = closed
    const before = JSON.stringify(this.machine.fragments)
    const era = this.chance.between(0, Math.max(0, this.machine.era - 1))
    await this.#send({ type: 'merged', round, era, merged: { base, delta }, now: this.house.now })
    must(JSON.stringify(this.machine.fragments) === before, '[R6] a merge counts once')
  }

  async #restart(): Promise<void> {
    await this.house.restart()
    for (const tab of this.tabs) tab.joined = false
    const credit = await this.house.store.credit(this.tabs.map(({ id }) => id))
    for (const { id } of this.tabs) {
      const { accepted, discarded, closed } = this.ledger
      const every = [...accepted.values(), ...discarded.accepted.values()]
      const theirs = every.filter(({ volunteer }) => volunteer === id)
      const merged = theirs.filter(({ round, merged }) => merged ?? round <= closed.length)
      const tokens = merged.reduce((sum, contribution) => sum + contribution.tokens, 0)
      const ours = { accepted: theirs.length, rejected: this.ledger.refusals.get(id) ?? 0, tokens }
      const none = { accepted: 0, rejected: 0, tokens: 0 }
      expect(credit.get(id) ?? none).toEqual(ours)
    }
  }

  async close(): Promise<void> {
    await this.#restart()
    await this.house.close()
    recount(this.#file, this.first, this.vectors, this.ledger)
  }
}

/** Everybody joins, asks and contributes and the clock goes on: how many laps of that until the round has closed. */
function fairLaps(from: Machine, tabs: readonly Tab[], now: number): number {
  let state = from
  let later = now
  const send = (event: RoundEvent) => {
    const { state: next, effects } = reduce(state, event)
    state = next
    return effects
  }
  const closed = () => state.phase === 'merging'
  for (let lap = 0; lap <= FAIR_LAPS; lap++) {
    send({ type: 'resume', now: later })
    for (const { id } of tabs) send({ type: 'join', volunteer: id, tokensPerSecond: null, now: later })
    for (const { id: volunteer } of tabs) {
      const id = `fair-${lap}-${volunteer}`
      const asked = {
        volunteer,
        id,
        after: null,
        tokensPerSecond: null,
        told: Book.of<number>([]),
        now: later,
      }
      for (const effect of send({ type: 'request', ...asked })) {
        if (effect.type !== 'granted') continue
        const content = { hash: 'e'.repeat(64), bytes: 8, steps: effect.lease.steps, trainLoss: 5 }
        send({ type: 'contribution', volunteer, lease: effect.id, content, now: later })
      }
    }
    if (closed()) return lap
    later += 1_000 * from.config.deadlineSeconds
    send({ type: 'tick', now: later })
    if (closed()) return lap
  }
  return Number.POSITIVE_INFINITY
}

describe('the machine’s promises under random events', () => {
  let folder = ''
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'potluck-property-'))
  })
  afterEach(() => {
    rmSync(folder, { recursive: true, force: true })
  })

  it.each(Array.from({ length: SEEDS }, (_, i) => `seed ${i}`))('%s', async (seed) => {
    const world = new World(seed, join(folder, 'potluck.sqlite'))
    await world.open()
    for (let event = 0; event < EVENTS; event++) {
      await world.move()
      const { machine, house } = world
      if (machine.status === 'ended' || machine.status === 'completed') continue
      if (event % 10 === 0) must(fairLaps(machine, world.tabs, house.now) <= FAIR_LAPS, 'no round is stuck')
    }
    await world.close()
  })
})
