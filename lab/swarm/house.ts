/**
 * The coordinator of a simulation: the real driver and round machine, on a virtual clock. What a commit would write of the
 * state is made into JSON, as the store does, and thrown away; merges take their time and make up hashes. Measures the machine.
 */
import { type Clock, RoundDriver } from '../../coordinator/rounds/driver.ts'
import type { Effect, Merge, MergedFragment, RoundEvent } from '../../coordinator/rounds/events.ts'
import { changes } from '../../coordinator/rounds/kept.ts'
import { freshMachine, type Machine } from '../../coordinator/rounds/state.ts'
import { Caller } from '../../coordinator/rounds/waiting.ts'
import { CODECS } from '../../shared/codec/codec.ts'
import { PRESETS } from '../../shared/model/config.ts'
import { flopsPerToken } from '../../shared/model/flops.ts'
import { parameterCount } from '../../shared/model/layout.ts'
import { defaultRunConfig } from '../../shared/protocol/defaults.ts'
import { Agenda } from './agenda.ts'
import type { Costs, Swarm } from './result.ts'
import { DEADLINE, DEVICES, MERGE_RATE } from './settings.ts'

const EPOCH = 1_700_000_000_000
const hashOf = (round: number) => round.toString(16).padStart(64, '0')

export class SwarmHouse {
  readonly agenda = new Agenda()
  readonly costs: Costs = { events: 0, machine: 0, commits: 0, commit: 0, commitBytes: 0, granted: 0 }
  readonly driver: RoundDriver
  /** Seconds since the beginning. */
  now = 0
  onChange: () => void = () => undefined
  /** There is a place for a volunteer who was refused. */
  onCall: (volunteer: string) => void = () => undefined
  readonly #waiting: Caller
  #commitInEvent = 0
  /** The state as it was committed last. */
  #kept: Machine | null = null

  constructor(swarm: Swarm) {
    const clock: Clock = { now: () => this.#unix, at: (time, callback) => this.#at(time, callback) }
    this.#waiting = new Caller(
      clock,
      () => this.machine,
      (volunteer) => this.onCall(volunteer),
    )
    this.driver = new RoundDriver(machineOf(swarm), {
      clock,
      commit: async (machine) => this.#commit(machine),
      merge: (merge) => this.#merge(merge),
      changed: () => {
        this.#waiting.look()
        this.onChange()
      },
      roundClosed: () => undefined,
      problem: (code, message) => {
        throw new Error(`${code}: ${message}`)
      },
    })
  }

  get machine(): Machine {
    return this.driver.machine
  }

  in(seconds: number, act: () => Promise<void> | void): void {
    this.agenda.add(this.now + seconds, act)
  }

  async send(event: DistributiveOmit<RoundEvent, 'now'>): Promise<Effect[]> {
    this.#commitInEvent = 0
    const began = cpu()
    const effects = await this.driver.dispatch({ ...event, now: this.#unix })
    this.#wait(event, effects)
    this.costs.machine += cpu() - began - this.#commitInEvent
    this.costs.events += 1
    return effects
  }

  /** As coordinator/runs does. */
  #wait(event: DistributiveOmit<RoundEvent, 'now'>, effects: readonly Effect[]): void {
    for (const effect of effects) {
      if (effect.type === 'wait') this.#waiting.refused(effect.volunteer)
      if (effect.type === 'granted') this.#waiting.forget(effect.volunteer)
    }
    if (event.type === 'leave' || event.type === 'disconnect') this.#waiting.forget(event.volunteer)
  }

  /** Does what is next, and whatever that has set going. False when there is nothing, or nothing before `end`. */
  async step(end: number): Promise<boolean> {
    const { next } = this.agenda
    if (next === null || next > end) return false
    const item = this.agenda.take()
    this.now = Math.max(this.now, next)
    await item?.act()
    return true
  }

  get #unix(): number {
    return Math.round(EPOCH + 1_000 * this.now)
  }

  #at(time: number, callback: () => void): () => void {
    let cancelled = false
    this.agenda.add(Math.max(this.now, (time - EPOCH) / 1_000), async () => {
      if (cancelled) return
      callback()
      await settled()
    })
    return () => {
      cancelled = true
    }
  }

  #commit(machine: Machine): void {
    const began = cpu()
    const { length } = JSON.stringify([...changes(this.#kept, machine)])
    this.#kept = machine
    const took = cpu() - began
    this.#commitInEvent += took
    this.costs.commits += 1
    this.costs.commit += took
    this.costs.commitBytes += length
  }

  #merge({ round, base, contributions, downlink }: Merge): Promise<MergedFragment> {
    const bytes = CODECS[downlink].byteLength(base.parameters)
    const merged: MergedFragment = {
      base: { ...base, weights: hashOf(round), exact: hashOf(round), velocity: hashOf(round) },
      delta: { hash: hashOf(2 ** 32 + round), bytes },
    }
    return new Promise((resolve) => {
      this.in((base.parameters * contributions.length) / MERGE_RATE, async () => {
        resolve(merged)
        await settled()
      })
    })
  }
}

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never

/** Milliseconds that this process has computed: not wall time, in which others compute too. */
function cpu(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

/** Until everything has run that waits for nothing. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve))

function machineOf(swarm: Swarm): Machine {
  const model = PRESETS[swarm.preset]
  const stepSeconds = (flopsPerToken(model) * swarm.batchSize * model.sequenceLength) / DEVICES.median
  const parameters = parameterCount(model)
  return freshMachine({
    run: 'run-00001',
    config: {
      ...defaultRunConfig(swarm.preset),
      innerSteps: swarm.innerSteps,
      batchSize: swarm.batchSize,
      replicas: swarm.replicas,
      quorum: Math.max(1, Math.floor(swarm.replicas / 2)),
      deadlineSeconds: Math.ceil(DEADLINE * swarm.innerSteps * stepSeconds),
      rounds: 1_000_000, // it never ends by itself
      fragments: 1,
      codec: swarm.codec,
      groupSize: 1,
      overlap: swarm.overlap,
      strict: false,
    },
    sequenceLength: model.sequenceLength,
    sequencesPerEpoch: 10_000_000,
    fragments: [{ parameters, weights: hashOf(0), exact: null, velocity: null, largest: 1 }],
  })
}
