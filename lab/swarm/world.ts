/**
 * A swarm of volunteers around one coordinator, event by event: they come and go, ask for leases, train, upload, crash and
 * sleep, as client/swarm's tabs do. Time is virtual; nothing is trained. What is measured: what training is done, what
 * goes over the coordinator's wire, and what the real round machine costs.
 */
import { patienceOf } from '../../client/swarm/chances.ts'
import { Book } from '../../coordinator/rounds/book.ts'
import type { OpenLease } from '../../coordinator/rounds/state.ts'
import { CODECS } from '../../shared/codec/codec.ts'
import { PRESETS } from '../../shared/model/config.ts'
import { flopsPerToken } from '../../shared/model/flops.ts'
import { parameterCount } from '../../shared/model/layout.ts'
import { randomFrom } from '../../shared/model/random.ts'
import { SwarmHouse } from './house.ts'
import type { Swarm, SwarmResult } from './result.ts'
import { FAILURES, LATENCY_SECONDS } from './settings.ts'
import { absence, likelihood, makeTab, stay, type Tab, type Turn } from './tab.ts'

export async function simulateSwarm(swarm: Swarm): Promise<SwarmResult> {
  const world = new World(swarm)
  await world.run()
  return world.result()
}

/** Speeds do not change. */
const NOTHING_NEW = Book.of<number>([])

class World {
  readonly #swarm: Swarm
  readonly #random: () => number
  readonly #house: SwarmHouse
  readonly #tabs: readonly Tab[]
  readonly #tokensAStep: number
  readonly #bytes: { readonly contribution: number; readonly delta: number; readonly snapshot: number }
  #round = 1
  #leases = 0
  #counts = { tokens: 0, accepted: 0, refused: 0, asked: 0, useful: 0, lost: 0, bytesIn: 0, bytesOut: 0 }

  constructor(swarm: Swarm) {
    const model = PRESETS[swarm.preset]
    const parameters = parameterCount(model)
    this.#swarm = swarm
    this.#random = randomFrom(`swarm/${swarm.seed}`)
    this.#house = new SwarmHouse(swarm)
    this.#tabs = Array.from({ length: swarm.volunteers }, (_, i) =>
      makeTab(i, this.#random, flopsPerToken(model)),
    )
    this.#tokensAStep = swarm.batchSize * model.sequenceLength
    this.#bytes = {
      contribution: CODECS[swarm.codec].byteLength(parameters),
      delta: CODECS.int8.byteLength(parameters),
      snapshot: 4 * parameters,
    }
    const byId = new Map(this.#tabs.map((tab) => [tab.id, tab]))
    this.#house.onChange = () => this.#look()
    this.#house.onCall = (volunteer) => {
      const tab = byId.get(volunteer)
      if (tab) this.#later(tab, LATENCY_SECONDS, () => (tab.waits ? this.#ask(tab) : undefined))
    }
  }

  async run(): Promise<void> {
    await this.#house.send({ type: 'start' })
    for (const tab of this.#tabs) {
      const there = this.#random() < likelihood(tab, 0)
      // Everybody who is there comes within a minute, so that nothing happens all at once.
      this.#house.in(there ? 60 * this.#random() : absence(tab, 0, this.#random), () => this.#come(tab))
    }
    while (this.#round <= this.#swarm.rounds && (await this.#house.step(3_600 * this.#swarm.hours)));
  }

  result(): SwarmResult {
    const { now, machine, costs } = this.#house
    const presentSeconds = this.#tabs.reduce(
      (sum, tab) => sum + tab.stayed + (tab.present ? now - tab.since : 0),
      0,
    )
    const { useful, lost, ...counts } = this.#counts
    return {
      swarm: this.#swarm,
      seconds: now,
      rounds: this.#round - 1,
      present: presentSeconds / now,
      presentSeconds,
      usefulSeconds: useful,
      lostSeconds: lost,
      ...counts,
      costs,
      stateBytes: JSON.stringify(machine).length,
      keptBytes: costs.commits === 0 ? 0 : costs.commitBytes / costs.commits,
    }
  }

  /** Tabs hear of a new round. */
  #look(): void {
    const { round } = this.#house.machine
    if (round === this.#round) return
    this.#round = round
    for (const tab of this.#tabs)
      if (tab.present) this.#later(tab, LATENCY_SECONDS, () => this.#newRound(tab))
  }

  /** Unless the tab has gone by then. */
  #later(tab: Tab, seconds: number, act: () => Promise<void> | void): void {
    const { life } = tab
    this.#house.in(seconds, () => (tab.life === life ? act() : undefined))
  }

  async #come(tab: Tab): Promise<void> {
    tab.present = true
    tab.since = this.#house.now
    const { life } = tab
    this.#house.in(stay(this.#random), () => (tab.life === life ? this.#go(tab) : undefined))
    await this.#house.send({ type: 'join', volunteer: tab.id, tokensPerSecond: tab.speed })
    await this.#ask(tab)
  }

  /** Half of them say so. */
  async #go(tab: Tab): Promise<void> {
    this.#leave(tab)
    const type = this.#random() < 0.5 ? 'leave' : 'disconnect'
    await this.#house.send({ type, volunteer: tab.id })
    this.#house.in(absence(tab, this.#house.now, this.#random), () => this.#come(tab))
  }

  async #crash(tab: Tab): Promise<void> {
    this.#leave(tab)
    await this.#house.send({ type: 'disconnect', volunteer: tab.id })
    const [least, most] = FAILURES.crashSeconds
    this.#house.in(least + (most - least) * this.#random(), () => this.#come(tab))
  }

  #leave(tab: Tab): void {
    this.#lose(tab, tab.turn)
    if (tab.upload) this.#counts.lost += this.#secondsOf(tab, tab.upload.steps)
    tab.stayed += this.#house.now - tab.since
    Object.assign(tab, { present: false, turn: null, upload: null, waits: false, after: null })
    tab.life += 1
  }

  async #ask(tab: Tab): Promise<void> {
    this.#counts.asked += 1
    const id = `lease-${1_000_000 + this.#leases++}`
    const asked = { volunteer: tab.id, id, after: tab.after, tokensPerSecond: tab.speed, told: NOTHING_NEW }
    const effects = await this.#house.send({ type: 'request', ...asked })
    const answer = effects.find((effect) => effect.type === 'granted')
    tab.waits = answer === undefined
    if (answer) this.#begin(tab, answer.id, answer.lease)
    else this.#wait(tab)
  }

  /** It is called, or asks again when it has long not been. */
  #wait(tab: Tab): void {
    const asked = this.#counts.asked
    tab.waitsSince = asked
    this.#later(tab, patienceOf({ present: this.#house.machine.present.size }) / 1_000, () =>
      tab.waits && tab.waitsSince === asked ? this.#ask(tab) : undefined,
    )
  }

  /** A replica that goes on trains at once; one that begins needs the weights. */
  #begin(tab: Tab, lease: string, { round, steps }: OpenLease): void {
    this.#house.costs.granted += 1
    const training = this.#secondsOf(tab, steps)
    const fetching = tab.after !== null && this.#swarm.overlap ? 0 : this.#fetch(tab)
    const turn = { lease, round, steps, begins: this.#house.now + fetching, trained: false }
    tab.turn = turn
    const { crashes, sleeps } = FAILURES
    const fate = this.#random()
    if (fate < crashes) this.#later(tab, fetching + training * this.#random(), () => this.#crash(tab))
    else if (fate > crashes + sleeps) this.#later(tab, fetching + training, () => this.#trained(tab, turn))
  }

  #secondsOf = (tab: Tab, steps: number): number => (steps * this.#tokensAStep) / tab.speed

  async #trained(tab: Tab, turn: Turn): Promise<void> {
    if (tab.turn !== turn) return // its round is over
    turn.trained = true
    await this.#send(tab)
  }

  /** Sends what is trained, if it is of this round and nothing else is on its way; with overlap trains on. */
  async #send(tab: Tab): Promise<void> {
    const { turn } = tab
    if (!turn?.trained || tab.upload || turn.round !== this.#round || tab.holds !== this.#round) return
    const { lease, steps } = turn
    tab.upload = { lease, steps }
    tab.turn = null
    tab.after = lease
    this.#later(tab, LATENCY_SECONDS + this.#bytes.contribution / tab.up, () =>
      this.#arrive(tab, lease, steps),
    )
    if (this.#swarm.overlap) await this.#ask(tab)
  }

  async #arrive(tab: Tab, lease: string, steps: number): Promise<void> {
    this.#counts.bytesIn += this.#bytes.contribution
    const { damaged, unfit } = FAILURES
    const fate = this.#random()
    const named = { volunteer: tab.id, lease }
    const hash = (this.#leases * 1_000 + this.#counts.accepted).toString(16).padStart(64, '0')
    if (fate < damaged) {
      await this.#house.send({ type: 'unfit', ...named, reason: 'hash-mismatch', hash })
      this.#later(tab, this.#bytes.contribution / tab.up, () => this.#arrive(tab, lease, steps))
      return
    }
    const content = { hash, bytes: this.#bytes.contribution, steps, trainLoss: 5 }
    const isUnfit = fate < damaged + unfit
    const effects = isUnfit
      ? await this.#house.send({ type: 'unfit', ...named, reason: 'not-finite', hash })
      : await this.#house.send({ type: 'contribution', ...named, content })
    const accepted = effects.some((effect) => effect.type === 'accepted')
    tab.upload = null
    const seconds = this.#secondsOf(tab, steps)
    if (accepted) {
      this.#counts.tokens += steps * this.#tokensAStep
      this.#counts.accepted += 1
      this.#counts.useful += seconds
    } else {
      this.#counts.refused += 1
      this.#counts.lost += seconds
      tab.after = null
      if (isUnfit) await this.#goBack(tab)
    }
    if (tab.turn === null) await this.#ask(tab)
    await this.#send(tab)
  }

  /** The round under way may not have its quorum without it: rule V10 of client/swarm/RULES.md. */
  async #goBack(tab: Tab): Promise<void> {
    const { turn } = tab
    if (turn === null || turn.round === this.#round) return
    this.#lose(tab, turn)
    tab.turn = null
    await this.#house.send({ type: 'release', volunteer: tab.id, lease: turn.lease })
  }

  async #newRound(tab: Tab): Promise<void> {
    const round = this.#round
    const { turn } = tab
    if (turn !== null && turn.round < round) {
      this.#lose(tab, turn)
      Object.assign(tab, { turn: null, after: null })
      await this.#ask(tab)
    } else if (tab.turn?.round === round) {
      this.#later(tab, this.#fetch(tab), () => this.#send(tab))
    }
  }

  /** Seconds that the weights of this round take: by the deltas that the coordinator has, or the whole snapshot. */
  #fetch(tab: Tab): number {
    const missing = this.#round - tab.holds
    if (missing === 0) return 0
    const { delta, snapshot } = this.#bytes
    const deltas = this.#house.machine.fragments[0]?.deltas.length ?? 0
    const known = tab.holds > 0 && missing <= deltas && missing * delta < snapshot
    const bytes = known ? missing * delta : snapshot
    tab.holds = this.#round
    this.#counts.bytesOut += bytes
    return LATENCY_SECONDS + bytes / tab.down
  }

  /** What was trained of it until now. */
  #lose(tab: Tab, turn: Turn | null): void {
    if (turn === null) return
    const trained = Math.min(this.#house.now - turn.begins, this.#secondsOf(tab, turn.steps))
    this.#counts.lost += Math.max(0, trained)
  }
}
