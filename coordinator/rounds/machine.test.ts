import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../shared/protocol/limits.ts'
import { USUAL_TASKS } from '../../shared/protocol/tasks.ts'
import { Book } from './book.ts'
import { pendingMerge } from './closing.ts'
import type { Effect, RoundEvent } from './events.ts'
import { nextWake, reduce } from './machine.ts'
import { emptyPool } from './pool.ts'
import { Ranges } from './ranges.ts'
import { type Checkpoint, checkpointOf, freshMachine, type Machine, machineSchema } from './state.ts'

const HASH = 'a'.repeat(64)
const hashOf = (n: number) => n.toString(16).padStart(64, '0')
const BASE = { parameters: 10, weights: HASH, exact: null, velocity: null, largest: 1 }
const GRACE = LIMITS.leaseGraceSeconds * 1_000
const [ann, bob, cai, dee] = ['ann-0000', 'bob-0000', 'cai-0000', 'dee-0000'] as const

/** H=4 steps of 2 sequences of 8 tokens; a deadline of 60 s. */
function machine(config: Partial<Machine['config']> = {}): Machine {
  return freshMachine({
    run: 'run-00001',
    config: {
      name: 'test',
      preset: 'nano',
      corpus: null,
      innerSteps: 4,
      batchSize: 2,
      replicas: 2,
      quorum: 1,
      deadlineSeconds: 60,
      rounds: 3,
      innerLearningRate: 1e-3,
      outerLearningRate: 'auto',
      outerMomentum: 0.9,
      seed: '',
      fragments: 1,
      codec: 'int8',
      downlink: 'int8',
      errorFeedback: 1,
      checkpoints: { last: 1, every: 0, best: 0 },
      tasks: USUAL_TASKS,
      overlap: false,
      strict: false,
      groupSize: 1,
      auditRate: 0,
      evaluation: 'auto',
      ...config,
    },
    sequenceLength: 8,
    sequencesPerEpoch: 100,
    fragments: Array.from({ length: config.fragments ?? 1 }, () => BASE),
  })
}

/** Whoever writes to it throws: reduce shares what it leaves alone, and changes nothing. */
function frozen<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  Object.freeze(value)
  for (const inner of Object.values(value)) frozen(inner)
  return value
}

/** A machine one talks to: keeps the state, remembers all effects. */
function table(config: Partial<Machine['config']> = {}) {
  let state = machine(config)
  let leases = 0
  const t = {
    now: 0,
    /** Tokens a second, as tabs report them. */
    speeds: {} as Record<string, number>,
    get state() {
      return state
    },
    send(event: RoundEvent): Effect[] {
      const reduction = reduce(frozen(state), frozen(event))
      state = reduction.state
      expect(machineSchema.parse(JSON.parse(JSON.stringify(state)))).toStrictEqual(state) // every state can be persisted
      return reduction.effects
    },
    do: (type: 'start' | 'pause' | 'resume' | 'end' | 'tick' | 'restarted') => t.send({ type, now: t.now }),
    join: (...volunteers: string[]) =>
      volunteers.flatMap((volunteer) =>
        t.send({ type: 'join', volunteer, tokensPerSecond: t.speeds[volunteer] ?? null, now: t.now }),
      ),
    gone: (volunteer: string) => t.send({ type: 'disconnect', volunteer, now: t.now }),
    request(volunteer: string, after: string | null = null): string {
      const id = `lease-${100 + leases++}`
      const tokensPerSecond = t.speeds[volunteer] ?? null
      const told = Book.of(Object.entries(t.speeds))
      const effects = t.send({ type: 'request', volunteer, id, after, tokensPerSecond, told, now: t.now })
      const answer = effects.find((effect) => effect.type === 'granted' || effect.type === 'wait')
      if (answer?.type === 'granted') return answer.id
      if (answer?.type === 'wait') return answer.reason
      throw new Error('no answer')
    },
    contribute(volunteer: string, lease: string, steps = 4): Effect[] {
      const content = { hash: hashOf(leases + 1), bytes: 24, steps, trainLoss: 5 }
      return t.send({ type: 'contribution', volunteer, lease, content, now: t.now })
    },
    merged: (round = state.round) =>
      t.send({
        type: 'merged',
        round,
        era: state.era,
        merged: {
          base: { parameters: 10, weights: hashOf(round), exact: HASH, velocity: HASH, largest: 1 },
          delta: { hash: hashOf(1_000 + round), bytes: 12 },
        },
        now: t.now,
      }),
  }
  return t
}

const types = (effects: Effect[]) => effects.map((effect) => effect.type)

describe('leases', () => {
  it('[L1] are granted only while running and training, and no more than replicas', () => {
    const t = table({ replicas: 2 })
    t.join(ann, bob, cai)
    expect(t.request(ann)).toBe('not-started')
    t.do('start')
    expect(t.request(ann)).toBe('lease-101')
    expect(t.request(bob)).toBe('lease-102')
    expect(t.request(cai)).toBe('round-full')
    expect(t.request(dee)).toBe('gathering')
  })

  it('[L1] keep nobody from a round whose deadline they have missed, and still count', () => {
    const t = table({ replicas: 2, quorum: 2 })
    t.join(ann, bob, cai, dee)
    t.do('start')
    const late = t.request(bob)
    t.contribute(ann, t.request(ann))
    expect(t.request(cai)).toBe('round-full')
    t.now = 60_500
    t.do('tick')
    expect(t.state.leases.get(late)).toMatchObject({ late: true })
    expect(t.request(cai)).toMatch(/^lease/)
    expect(t.request(dee)).toBe('round-full')
    expect(types(t.contribute(bob, late))).toContain('merge')
  })

  it('[L2] asking again ends the lease and grants another, of the same data', () => {
    const t = table()
    t.join(ann)
    t.do('start')
    expect(t.request(ann)).toBe('lease-100')
    expect(t.request(ann)).toBe('lease-101')
    expect([...t.state.leases.byId.keys()]).toEqual(['lease-101'])
    expect(t.state.leases.get('lease-101')?.ranges).toEqual([{ epoch: 0, first: 0, count: 8 }])
  })

  it('[L2] what a tab had sent before it was reloaded is stale', () => {
    const t = table()
    t.join(ann)
    t.do('start')
    const lost = t.request(ann)
    const lease = t.request(ann)
    expect(t.contribute(ann, lost)[0]).toMatchObject({ type: 'refused', reason: 'stale' })
    expect(types(t.contribute(ann, lease))).toContain('accepted')
  })

  it('[L2] asking again while the run is paused ends the lease: its place is free when the run goes on', () => {
    const t = table({ replicas: 1, quorum: 1 })
    t.join(ann, bob)
    t.do('start')
    const lost = t.request(ann)
    t.do('pause')
    expect(t.request(ann)).toBe('paused')
    expect(t.state.leases.get(lost)).toBeUndefined()
    t.do('resume')
    expect(t.request(bob)).toMatch(/^lease/)
  })

  it('[L2] [L10] who asks for a lease of this round has lost the one that it had ahead', () => {
    const t = table({ replicas: 1, quorum: 1, overlap: true })
    t.join(ann)
    t.do('start')
    const first = t.request(ann)
    const ahead = t.request(ann, first)
    t.contribute(ann, first)
    expect(t.state.phase).toBe('merging')
    expect(t.request(ann)).toBe('contributed') // its page was loaded anew
    expect(t.state.leases.get(ahead)).toBeUndefined()
    t.merged()
    expect(t.state.leases.countOf(2)).toBe(0)
    expect(t.request(ann)).toMatch(/^lease/)
  })

  it('[L3] a volunteer contributes once a round', () => {
    const t = table()
    t.join(ann, bob)
    t.do('start')
    t.contribute(ann, t.request(ann))
    expect(t.request(ann)).toBe('contributed')
  })

  it('[L4] name disjoint data', () => {
    const t = table({ replicas: 3 })
    t.join(ann, bob, cai)
    t.do('start')
    for (const volunteer of [ann, bob, cai]) t.request(volunteer)
    const firsts = [...t.state.leases.byId.values()].map((lease) => lease.ranges)
    expect(firsts).toEqual([
      [{ epoch: 0, first: 0, count: 8 }],
      [{ epoch: 0, first: 8, count: 8 }],
      [{ epoch: 0, first: 16, count: 8 }],
    ])
  })

  it('[L5] [D3] a released or removed lease gives its data to the next', () => {
    const t = table()
    t.join(ann, bob)
    t.do('start')
    const lease = t.request(ann)
    expect(t.send({ type: 'release', volunteer: bob, lease, now: 0 })).toEqual([]) // not bob's to give
    expect(t.send({ type: 'release', volunteer: ann, lease, now: 0 })).toEqual([
      { type: 'lease-ended', lease, end: 'released' },
    ])
    const second = t.request(bob)
    expect(t.state.leases.get(second)?.ranges).toEqual([{ epoch: 0, first: 0, count: 8 }])
    t.send({ type: 'remove', volunteer: bob, now: 0 })
    expect([...t.state.pool.returned]).toEqual([{ epoch: 0, first: 0, count: 8 }])
  })

  it('[L5] outlive their volunteer’s connection by the grace time and no longer', () => {
    const t = table()
    t.join(ann, bob)
    t.do('start')
    t.request(ann)
    t.gone(ann)
    expect(nextWake(t.state)).toBe(GRACE)
    t.now = GRACE - 1
    expect(t.do('tick')).toEqual([])
    t.now = GRACE
    expect(t.do('tick')).toEqual([{ type: 'lease-ended', lease: 'lease-100', end: 'orphaned' }])
    expect(t.request(bob)).toBe('lease-101')
  })

  it('[L5] a volunteer who comes back in time keeps the lease', () => {
    const t = table()
    t.join(ann)
    t.do('start')
    const lease = t.request(ann)
    t.gone(ann)
    t.now = GRACE - 1
    t.join(ann)
    t.now = GRACE + 1
    t.do('tick')
    expect(types(t.contribute(ann, lease))).toContain('accepted')
  })

  it('[L6] a volunteer refused twice sits out the round', () => {
    const t = table()
    t.join(ann, bob)
    t.do('start')
    for (let i = 0; i < LIMITS.refusalsPerRound; i++) {
      t.send({
        type: 'unfit',
        volunteer: ann,
        lease: t.request(ann),
        reason: 'not-finite',
        hash: HASH,
        now: 0,
      })
    }
    expect(t.request(ann)).toBe('set-aside')
    expect([...t.state.pool.returned]).toEqual([{ epoch: 0, first: 0, count: 8 }])
    expect(t.request(bob)).toMatch(/^lease/)
  })

  it('[L6] and has another chance when the deadline is put off: nobody else may be there', () => {
    const t = table()
    t.join(ann)
    t.do('start')
    const unfit = { type: 'unfit', volunteer: ann, reason: 'not-finite', hash: HASH, now: 0 } as const
    for (let i = 0; i < LIMITS.refusalsPerRound; i++) t.send({ ...unfit, lease: t.request(ann) })
    expect(t.request(ann)).toBe('set-aside')
    t.now = 60_000
    t.do('tick')
    expect(t.request(ann)).toMatch(/^lease/)
  })
})

describe('contributions', () => {
  it('[R7] of somebody else’s lease change nothing', () => {
    const t = table()
    t.join(ann, bob)
    t.do('start')
    const lease = t.request(ann)
    const before = t.state
    expect(t.contribute(bob, lease)).toEqual([
      { type: 'refused', lease, volunteer: bob, reason: 'not-your-lease', hash: hashOf(2) },
    ])
    expect(t.state).toEqual(before)
  })

  it('[L7] damaged on the way may be sent again', () => {
    const t = table()
    t.join(ann)
    t.do('start')
    const lease = t.request(ann)
    const damaged = {
      type: 'unfit',
      volunteer: ann,
      lease,
      reason: 'hash-mismatch',
      hash: null,
      now: 0,
    } as const
    expect(types(t.send(damaged))).toEqual(['refused'])
    expect(types(t.contribute(ann, lease))).toContain('accepted')
  })

  it('[D2] of fewer steps consume the first sequences only, and count their tokens', () => {
    const t = table()
    t.join(ann)
    t.do('start')
    const lease = t.request(ann)
    t.contribute(ann, lease, 3)
    expect(t.state.accepted.get(lease)).toMatchObject({ tokens: 3 * 2 * 8, steps: 3 })
    expect([...t.state.pool.returned]).toEqual([{ epoch: 0, first: 6, count: 2 }])
  })

  it('of more steps than leased are refused', () => {
    const t = table()
    t.join(ann)
    t.do('start')
    const effects = t.contribute(ann, t.request(ann), 5)
    expect(effects[0]).toMatchObject({ type: 'refused', reason: 'bad-steps' })
  })

  it('[R7] for a lease that is no longer open are stale and change nothing', () => {
    const t = table()
    t.join(ann, bob)
    t.do('start')
    const late = t.request(ann)
    t.contribute(bob, t.request(bob))
    t.now = 60_000
    t.do('tick')
    t.merged()
    const before = t.state
    expect(t.contribute(ann, late)[0]).toMatchObject({ type: 'refused', reason: 'stale' })
    expect(t.state).toEqual(before)
  })

  it('[R7] sent twice for one lease count once', () => {
    const t = table()
    t.join(ann, bob)
    t.do('start')
    const lease = t.request(ann)
    t.contribute(ann, lease)
    expect(t.contribute(ann, lease)).toEqual([]) // the same bytes
    const other = { hash: hashOf(99), bytes: 24, steps: 4, trainLoss: 5 }
    expect(types(t.send({ type: 'contribution', volunteer: ann, lease, content: other, now: 0 }))).toEqual([
      'refused',
    ])
    expect([...t.state.accepted.keys()]).toEqual([lease])
  })
})

describe('rounds', () => {
  it('[R1] gather until a quorum is present', () => {
    const t = table({ quorum: 2 })
    t.do('start')
    t.join(ann)
    expect(t.request(ann)).toBe('gathering')
    expect(t.state.deadlineAt).toBeNull()
    t.now = 5_000
    t.join(bob)
    expect(t.state.phase).toBe('training')
    expect(t.state.deadlineAt).toBe(65_000)
  })

  it('[R2] [R6] close with the last replica and merge in lease order', () => {
    const t = table()
    t.join(ann, bob)
    t.do('start')
    const first = t.request(ann)
    const second = t.request(bob)
    expect(types(t.contribute(bob, second))).toEqual(['accepted', 'lease-ended'])
    const effects = t.contribute(ann, first)
    expect(effects.at(-1)).toMatchObject({
      type: 'merge',
      merge: {
        round: 1,
        learningRate: 0.6,
        momentum: 0.9,
        contributions: [{ lease: first }, { lease: second }],
      },
    })
    t.now = 9_000
    const [closed] = t.merged()
    expect(closed).toMatchObject({
      type: 'round-closed',
      closed: {
        round: 1,
        replicas: 2,
        tokens: 128,
        steps: 8,
        fragment: 0,
        trainLoss: 5,
        seconds: 9,
        bytesUp: 48,
        leases: [first, second],
      },
    })
    expect(t.state).toMatchObject({ round: 2, phase: 'training', accepted: {} })
    expect(t.state.fragments).toEqual([
      {
        base: { parameters: 10, weights: hashOf(1), exact: HASH, velocity: HASH, largest: 1 },
        deltas: [{ from: HASH, hash: hashOf(1_001), bytes: 12, codec: 'int8' }],
      },
    ])
  })

  it('[R3] close at the deadline with a quorum', () => {
    const t = table({ replicas: 3, quorum: 1 })
    t.join(ann, bob)
    t.do('start')
    t.request(bob)
    t.contribute(ann, t.request(ann))
    expect(nextWake(t.state)).toBe(60_000)
    t.now = 60_000
    expect(types(t.do('tick'))).toEqual(['lease-ended', 'merge'])
  })

  it('[R4] below quorum the deadline is put off', () => {
    const t = table({ replicas: 3, quorum: 2 })
    t.join(ann, bob)
    t.do('start')
    t.request(bob)
    t.contribute(ann, t.request(ann))
    t.now = 60_500
    expect(t.do('tick')).toEqual([])
    expect(t.state).toMatchObject({ deadlineAt: 120_500, extensions: 1, phase: 'training' })
  })

  it('[R5] close early when nobody is left to wait for', () => {
    const t = table({ replicas: 3, quorum: 1 })
    t.join(ann, bob)
    t.do('start')
    t.request(bob)
    t.contribute(ann, t.request(ann))
    t.gone(bob)
    expect(t.state.phase).toBe('training')
    t.now = GRACE
    expect(types(t.do('tick'))).toEqual(['lease-ended', 'merge'])
  })

  it('[R13] a clock set back puts nothing off beyond its full length', () => {
    const t = table({ quorum: 2 })
    t.now = 3_600_000
    t.join(ann, bob)
    t.do('start')
    t.request(ann)
    t.gone(ann)
    t.now = 1_000
    t.do('tick')
    expect(nextWake(t.state)).toBe(1_000 + GRACE)
    expect(t.state).toMatchObject({ openedAt: 1_000, deadlineAt: 61_000 })
  })

  it('[R8] a pause stops leases, closing and the clock, and still takes contributions', () => {
    const t = table()
    t.join(ann, bob)
    t.do('start')
    const [first, second] = [t.request(ann), t.request(bob)]
    t.now = 20_000
    t.do('pause')
    expect(t.request(cai)).toBe('paused')
    expect(nextWake(t.state)).toBeNull()
    expect(types(t.contribute(ann, first))).toContain('accepted')
    expect(types(t.contribute(bob, second))).not.toContain('merge')
    t.now = 500_000
    expect(types(t.do('resume'))).toEqual(['merge'])
  })

  it('[R8] the deadline goes on where it stood', () => {
    const t = table()
    t.join(ann)
    t.do('start')
    t.request(ann)
    t.now = 20_000
    t.do('pause')
    t.now = 90_000
    t.do('resume')
    expect(t.state.deadlineAt).toBe(130_000)
  })

  it('[R9] the last round completes the run', () => {
    const t = table({ rounds: 1 })
    t.join(ann)
    t.do('start')
    t.contribute(ann, t.request(ann))
    t.merged()
    expect(t.state.status).toBe('completed')
    expect(t.request(ann)).toBe('completed')
  })

  it('[R9] an ended run merges what was closing and grants nothing more', () => {
    const t = table({ replicas: 1 })
    t.join(ann, bob)
    t.do('start')
    t.contribute(ann, t.request(ann))
    t.do('end')
    expect(types(t.merged())).toEqual(['round-closed'])
    expect(t.state).toMatchObject({ status: 'ended', round: 2 })
    expect(t.request(bob)).toBe('ended')
  })

  it('[R6] a merge reported twice, or for another round, changes nothing', () => {
    const t = table({ replicas: 1 })
    t.join(ann)
    t.do('start')
    t.contribute(ann, t.request(ann))
    expect(t.merged(7)).toEqual([])
    t.merged(1)
    const before = t.state
    expect(t.merged(1)).toEqual([])
    expect(t.state).toEqual(before)
  })

  it('[R10] after a restart open leases wait the grace time and accepted contributions count', () => {
    const t = table({ replicas: 2, quorum: 1 })
    t.join(ann, bob)
    t.do('start')
    const lease = t.request(ann)
    t.contribute(bob, t.request(bob))
    t.now = 1_000
    t.do('restarted')
    expect(t.state.present.size).toBe(0)
    expect([...t.state.accepted.keys()]).toHaveLength(1)
    t.now = 1_000 + GRACE - 1
    t.join(ann)
    expect(types(t.contribute(ann, lease))).toContain('merge')
  })

  it('[R6] a merge cut off by a restart is begun again with the same inputs', () => {
    const t = table({ replicas: 1 })
    t.join(ann)
    t.do('start')
    const effects = t.contribute(ann, t.request(ann))
    const merge = effects.find((effect) => effect.type === 'merge')
    t.do('restarted')
    expect(pendingMerge(t.state)).toEqual(merge?.type === 'merge' ? merge.merge : null)
  })
})

describe('leases sized by speed', () => {
  /** A round of H = 4 steps of 16 tokens: at 16 tokens/s, four seconds. */
  const steps = (t: ReturnType<typeof table>, lease: string) => t.state.leases.get(lease)?.steps

  it('[L8] who is of median speed takes H, a faster one more, a slower one fewer', () => {
    const t = table({ replicas: 4 })
    t.speeds = { [ann]: 8, [bob]: 16, [cai]: 40 }
    t.join(ann, bob, cai)
    t.do('start')
    expect([ann, bob, cai].map((volunteer) => steps(t, t.request(volunteer)))).toEqual([2, 4, 10])
  })

  it('[L8] never more than four times as many, never none', () => {
    const t = table({ replicas: 3 })
    t.speeds = { [ann]: 0.1, [bob]: 16, [cai]: 1_000 }
    t.join(ann, bob, cai)
    t.do('start')
    expect([ann, cai].map((volunteer) => steps(t, t.request(volunteer)))).toEqual([1, 16])
  })

  it('[L8] who comes late in the round takes what is left of it, and a quarter at least', () => {
    const t = table({ replicas: 3 })
    t.speeds = { [ann]: 16, [bob]: 16, [cai]: 16 }
    t.join(ann, bob, cai)
    t.do('start')
    t.now = 2_000
    expect(steps(t, t.request(bob))).toBe(2)
    t.now = 30_000
    expect(steps(t, t.request(cai))).toBe(1)
  })

  it('[L8] [L10] who is done early and goes on ahead has until the end of the next round', () => {
    const t = table({ replicas: 2, overlap: true })
    t.speeds = { [ann]: 16, [bob]: 16 }
    t.join(ann, bob)
    t.do('start')
    const [first] = [t.request(ann), t.request(bob)]
    // Ann turns out to be twice as fast: done after two seconds, while bob needs two more. Then a round of two, at 32.
    t.speeds[ann] = 32
    t.now = 2_000
    expect(steps(t, t.request(ann, first))).toBe(8)
    // A slow tab holds the round up for long, so there is time for more, up to four times H.
    t.speeds[bob] = 1
    expect(steps(t, t.request(ann, first))).toBe(16)
  })

  it('[L8] a deadline that would be missed shortens everybody’s', () => {
    const t = table({ replicas: 3, innerSteps: 100, deadlineSeconds: 60 })
    t.speeds = { [ann]: 8 }
    t.join(ann)
    t.do('start')
    // 85 % of 60 s at half a step a second.
    expect(steps(t, t.request(ann))).toBe(25)
  })

  it('[L8] a tab that has become slow gets fewer steps next time; one that missed its round half of that', () => {
    const t = table({ replicas: 2 })
    t.speeds = { [ann]: 16, [bob]: 16 }
    t.join(ann, bob)
    t.do('start')
    const missed = t.request(bob)
    expect(steps(t, missed)).toBe(4)
    t.contribute(ann, t.request(ann))
    t.now = 60_000
    t.do('tick') // the deadline: bob's lease ends with its round
    t.merged()
    expect(t.state.leases.get(missed)).toBeUndefined()
    expect(steps(t, t.request(bob))).toBe(2)
    t.contribute(bob, t.request(bob), 2)
    t.contribute(ann, t.request(ann))
    t.merged()
    t.speeds[bob] = 8
    expect(steps(t, t.request(bob))).toBe(2)
  })

  it('[R11] a strict run asks everybody for H, and waits for all beyond its deadline', () => {
    const t = table({ replicas: 2, quorum: 1, strict: true })
    t.speeds = { [ann]: 8, [bob]: 40 }
    t.join(ann)
    t.do('start')
    expect(t.request(ann)).toBe('gathering')
    t.join(bob)
    const [first, second] = [t.request(ann), t.request(bob)]
    expect([steps(t, first), steps(t, second)]).toEqual([4, 4])
    t.contribute(ann, first)
    t.now = 60_000
    expect(t.do('tick')).toEqual([])
    expect(types(t.contribute(bob, second))).toContain('merge')
  })
})

describe('overlap', () => {
  const overlapping = (config: Partial<Machine['config']> = {}) => {
    const t = table({ overlap: true, ...config })
    t.join(ann, bob)
    t.do('start')
    return t
  }

  it('[L10] who has trained its lease gets one of the next round while the bytes travel', () => {
    const t = overlapping()
    const first = t.request(ann)
    const ahead = t.request(ann, first)
    expect(ahead).not.toBe(first)
    expect(t.state.leases.get(ahead)).toMatchObject({ round: 2, after: first })
    t.contribute(ann, first)
    expect(t.state.leases.get(ahead)).toBeDefined()
    expect(t.request(ann, first)).not.toBe(ahead) // L2
    expect(t.state.leases.get(ahead)).toBeUndefined()
    expect(t.request(ann)).toBe('contributed')
  })

  it('[L10] its contribution is early until the round has begun, and stays open', () => {
    const t = overlapping()
    const [first, second] = [t.request(ann), t.request(bob)]
    const ahead = t.request(ann, first)
    expect(t.contribute(ann, ahead)[0]).toMatchObject({ type: 'refused', reason: 'early' })
    t.contribute(ann, first)
    t.contribute(bob, second)
    expect(types(t.merged())).toEqual(['round-closed'])
    expect(t.state.leases.get(ahead)).toBeDefined()
    expect(types(t.contribute(ann, ahead))).toEqual(['accepted', 'lease-ended'])
  })

  it('[L1] [L10] no more leases ahead than replicas, none beyond the last round, none without overlap', () => {
    const t = overlapping({ rounds: 2 })
    t.join(cai)
    const [first, second] = [t.request(ann), t.request(bob)]
    t.request(ann, first)
    t.request(bob, second)
    t.contribute(ann, first)
    expect(t.request(cai)).toBe('round-full')
    t.contribute(bob, second)
    t.merged()
    const last = [...t.state.leases.byId.keys()]
    expect(t.request(cai)).toBe('round-full')
    expect(t.request(ann, last[0])).toBe('contributed')
    const plain = table()
    plain.join(ann)
    plain.do('start')
    const only = plain.request(ann)
    const again = plain.request(ann, only)
    expect(plain.state.leases.get(again)?.round).toBe(1)
  })

  it('[L10] the end of a round ends its leases and leaves those of the next', () => {
    const t = overlapping()
    const [first, second] = [t.request(ann), t.request(bob)]
    const ahead = t.request(ann, first)
    t.contribute(bob, second)
    t.now = 60_000
    expect(t.do('tick')[0]).toEqual({ type: 'lease-ended', lease: first, end: 'closed' })
    expect([...t.state.leases.byId.keys()]).toEqual([ahead])
  })
})

describe('fragments', () => {
  /** H = 4 in two fragments: rounds of two steps of 16 tokens. */
  const pair = () => {
    const t = table({ fragments: 2, overlap: true, replicas: 1, quorum: 1, rounds: 9 })
    t.join(ann, bob)
    t.do('start')
    return t
  }
  const weight = (t: ReturnType<typeof table>, lease: string) => t.state.accepted.get(lease)?.weight

  it('[R12] are brought together in turn', () => {
    const t = pair()
    for (const [index, fragment] of [0, 1, 0, 1].entries()) {
      const lease = t.request(index % 2 === 0 ? ann : bob)
      expect(t.state.leases.get(lease)?.steps).toBe(2)
      t.contribute(t.state.leases.get(lease)?.volunteer ?? '', lease, 2)
      expect(t.merged()[0]).toMatchObject({ closed: { fragment } })
      expect(t.state.fragments[fragment]?.base.weights).toBe(hashOf(index + 1))
    }
    // Deltas of 12 bytes are a way as long as they are fewer than the 40 bytes of 10 values.
    expect(t.state.fragments.map(({ deltas }) => deltas.length)).toEqual([2, 2])
  })

  it('[L9] weigh what the replica trained since it last began at their global weights', () => {
    const t = pair()
    const first = t.request(ann)
    const second = t.request(ann, first)
    t.contribute(ann, first, 2)
    expect(weight(t, first)).toBe(32)
    t.merged()
    const third = t.request(ann, second)
    t.contribute(ann, second, 2)
    expect(weight(t, second)).toBe(64) // of two rounds: the first did not bring this fragment
    t.merged()
    t.contribute(ann, third, 1)
    expect(weight(t, third)).toBe(48) // the second round's and its own step
  })

  it('[L9] a lease of which the tab never heard does not break the chain', () => {
    const t = pair()
    const first = t.request(ann)
    t.contribute(ann, first, 2)
    t.merged()
    const unheard = t.request(ann, first)
    t.gone(ann)
    t.now = GRACE
    expect(t.do('tick')).toEqual([{ type: 'lease-ended', lease: unheard, end: 'orphaned' }])
    t.join(ann)
    const heard = t.request(ann, first)
    t.contribute(ann, heard, 2)
    expect(weight(t, heard)).toBe(64)
  })

  it('[L9] bytes of a tab before its reload never weigh what they do not hold', () => {
    const t = pair()
    const first = t.request(ann)
    t.contribute(ann, first, 2)
    t.merged()
    const old = t.request(ann, first) // 64 tokens on top of the second fragment
    const anew = t.request(ann) // reloaded: 32
    expect(types(t.contribute(ann, old, 2))).toEqual(['refused'])
    t.contribute(ann, anew, 2)
    expect(weight(t, anew)).toBe(32)
  })

  it('[L9] no more than its own steps when the chain is broken', () => {
    const t = pair()
    const first = t.request(ann)
    t.contribute(ann, first, 2)
    t.merged()
    const anew = t.request(ann) // a reloaded tab
    t.contribute(ann, anew, 2)
    expect(weight(t, anew)).toBe(32)
    t.merged()
    t.contribute(bob, t.request(bob), 2)
    t.merged()
    const after = t.request(ann, anew) // a round was left out
    t.contribute(ann, after, 2)
    expect(weight(t, after)).toBe(32)
  })
})

describe('rolling back', () => {
  /** A run of one whose first round is merged, with its checkpoint, in the middle of the second. */
  function inRoundTwo(config: Partial<Machine['config']> = {}) {
    const t = table({ replicas: 1, quorum: 1, overlap: true, ...config })
    t.join(ann)
    t.do('start')
    const first = t.request(ann)
    t.contribute(ann, first)
    const ahead = t.request(ann, first)
    const checkpoint = () => checkpointOf(t.state)
    const rollBack = (to: Checkpoint) => t.send({ type: 'roll-back', to, now: t.now })
    t.merged()
    return { t, first, ahead, checkpoint, rollBack }
  }

  it('[B1] a checkpoint has what was leased ahead back in the pool', () => {
    const { checkpoint } = inRoundTwo()
    expect(checkpoint()).toMatchObject({
      round: 1,
      fragments: [{ weights: hashOf(1) }],
      pool: { epoch: 0, cursor: 16, returned: Ranges.of([{ epoch: 0, first: 8, count: 8 }]) },
    })
  })

  it('[B1] [B2] ends every lease, drops what was accepted, and stands where the checkpoint does', () => {
    const { t, ahead, checkpoint, rollBack } = inRoundTwo({ replicas: 2 })
    t.join(bob)
    const to = checkpoint()
    t.contribute(ann, ahead)
    const open = t.request(bob)
    const effects = rollBack({ ...to, round: 0, fragments: [BASE], pool: emptyPool() })
    expect(effects).toContainEqual({ type: 'lease-ended', lease: open, end: 'rolled-back' })
    expect(effects).toContainEqual({ type: 'rolled-back', rolledBack: { from: 2, to: 0, era: 1 } })
    expect(t.state).toMatchObject({
      round: 1,
      era: 1,
      accepted: {},
      leases: {},
      replicas: {},
      pool: emptyPool(),
    })
    expect(t.state.fragments).toEqual([{ base: BASE, deltas: [] }])
    expect(t.contribute(bob, open)[0]).toMatchObject({ type: 'refused', reason: 'stale' })
    expect(t.contribute(ann, ahead)[0]).toMatchObject({ type: 'refused', reason: 'stale' })
  })

  it('[B3] a merge of an earlier era changes nothing, though its round is merging again', () => {
    const { t, ahead, checkpoint, rollBack } = inRoundTwo()
    const to = checkpoint()
    t.contribute(ann, ahead)
    expect(t.state.phase).toBe('merging')
    rollBack(to)
    t.contribute(ann, t.request(ann))
    expect(t.state).toMatchObject({ phase: 'merging', round: 2, era: 1 })
    const late = { base: { ...BASE, weights: hashOf(99) }, delta: { hash: hashOf(98), bytes: 12 } }
    expect(t.send({ type: 'merged', round: 2, era: 0, merged: late, now: t.now })).toEqual([])
    t.merged()
    expect(t.state).toMatchObject({ round: 3, fragments: [{ base: { weights: hashOf(2) } }] })
  })

  it('[B3] a chain of contributions ends with its era', () => {
    const { t, first, checkpoint, rollBack } = inRoundTwo({ fragments: 2, innerSteps: 8 })
    rollBack(checkpoint())
    const lease = t.request(ann, first)
    t.contribute(ann, lease)
    const { weight, tokens } = t.state.accepted.get(lease) ?? { weight: 0, tokens: 1 }
    expect(weight).toBe(tokens)
  })

  it('[B1] of a paused run leaves it paused; of one that is over, or to a round to come, does nothing', () => {
    const { t, checkpoint, rollBack } = inRoundTwo()
    const to = checkpoint()
    expect(rollBack({ ...to, round: 2 })).toEqual([])
    t.do('pause')
    rollBack(to)
    expect(t.state).toMatchObject({ status: 'paused', phase: 'gathering', round: 2, era: 1 })
    t.do('resume')
    expect(t.state.phase).toBe('training')
    t.do('end')
    expect(rollBack(to)).toEqual([])
    expect(t.state).toMatchObject({ status: 'ended', era: 1 })
  })
})
