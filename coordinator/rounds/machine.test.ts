import { describe, expect, it } from 'vitest'
import { randomFrom } from '../../shared/model/random.ts'
import { LIMITS } from '../../shared/protocol/limits.ts'
import { type Effect, nextWake, pendingMerge, type RoundEvent, reduce } from './machine.ts'
import { countSequences } from './pool.ts'
import { freshMachine, type Machine, machineSchema } from './state.ts'

const HASH = 'a'.repeat(64)
const hashOf = (n: number) => n.toString(16).padStart(64, '0')
const GRACE = LIMITS.leaseGraceSeconds * 1_000
const [ann, bob, cai, dee] = ['ann-0000', 'bob-0000', 'cai-0000', 'dee-0000'] as const

/** H=4 steps of 2 sequences of 8 tokens; a deadline of 60 s. */
function machine(config: Partial<Machine['config']> = {}): Machine {
  return freshMachine({
    run: 'run-00001',
    config: {
      name: 'test',
      preset: 'nano',
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
      ...config,
    },
    parameters: 10,
    sequenceLength: 8,
    sequencesPerEpoch: 100,
    weights: HASH,
    largest: 1,
  })
}

/** A machine one talks to: keeps the state, remembers all effects. */
function table(config: Partial<Machine['config']> = {}) {
  let state = machine(config)
  let leases = 0
  const t = {
    now: 0,
    get state() {
      return state
    },
    send(event: RoundEvent): Effect[] {
      const reduction = reduce(state, event)
      state = machineSchema.parse(reduction.state) // every state can be persisted
      return reduction.effects
    },
    do: (type: 'start' | 'pause' | 'resume' | 'end' | 'tick' | 'restarted') => t.send({ type, now: t.now }),
    join: (...volunteers: string[]) =>
      volunteers.flatMap((volunteer) => t.send({ type: 'join', volunteer, now: t.now })),
    gone: (volunteer: string) => t.send({ type: 'disconnect', volunteer, now: t.now }),
    request(volunteer: string): string {
      const effects = t.send({ type: 'request', volunteer, id: `lease-${100 + leases++}`, now: t.now })
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
        base: { weights: hashOf(round), velocity: HASH, largest: 1 },
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

  it('[L2] asking again answers with the same lease', () => {
    const t = table()
    t.join(ann)
    t.do('start')
    expect(t.request(ann)).toBe('lease-100')
    expect(t.request(ann)).toBe('lease-100')
    expect(Object.keys(t.state.leases)).toHaveLength(1)
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
    const firsts = Object.values(t.state.leases).map((lease) => lease.ranges)
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
    expect(t.state.leases[second]?.ranges).toEqual([{ epoch: 0, first: 0, count: 8 }])
    t.send({ type: 'remove', volunteer: bob, now: 0 })
    expect(t.state.pool.returned).toEqual([{ epoch: 0, first: 0, count: 8 }])
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
    expect(t.state.pool.returned).toEqual([{ epoch: 0, first: 0, count: 8 }])
    expect(t.request(bob)).toMatch(/^lease/)
  })
})

describe('contributions', () => {
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
    expect(t.state.accepted[lease]).toMatchObject({ tokens: 3 * 2 * 8, steps: 3 })
    expect(t.state.pool.returned).toEqual([{ epoch: 0, first: 6, count: 2 }])
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
    expect(Object.keys(t.state.accepted)).toEqual([lease])
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
        trainLoss: 5,
        seconds: 9,
        bytesUp: 48,
        leases: [first, second],
      },
    })
    expect(t.state).toMatchObject({ round: 2, phase: 'training', base: { weights: hashOf(1) }, accepted: {} })
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
    expect(t.state.present).toEqual([])
    expect(Object.keys(t.state.accepted)).toHaveLength(1)
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

describe('a thousand random events', () => {
  it.each(Array.from({ length: 20 }, (_, i) => `seed ${i}`))(
    '%s: [D1] every sequence is counted once',
    (seed) => {
      const random = randomFrom(seed)
      const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T // never empty here
      const t = table({ replicas: 3, quorum: 2, rounds: 1_000, deadlineSeconds: 5 })
      const volunteers = [ann, bob, cai, dee]
      let consumed = 0
      t.do('start')
      for (let i = 0; i < 1_000; i++) {
        t.now += Math.floor(random() * 3_000)
        const volunteer = pick(volunteers)
        const open = pick([...Object.keys(t.state.leases), 'lease-none'])
        const choice = Math.floor(random() * 9)
        const steps = 1 + Math.floor(random() * 4)
        const owner = t.state.leases[open]?.volunteer ?? volunteer
        const effects = ((): Effect[] => {
          if (choice === 0) return t.join(volunteer)
          if (choice === 1) return t.gone(volunteer)
          if (choice === 2) return t.do(pick(['pause', 'resume', 'resume', 'tick', 'restarted']))
          if (choice === 3)
            return t.send({
              type: 'unfit',
              volunteer,
              lease: open,
              reason: 'not-finite',
              hash: HASH,
              now: t.now,
            })
          if (choice === 4 && t.state.phase === 'merging') return t.merged()
          if (choice > 6) return t.contribute(owner, open, steps)
          t.request(volunteer)
          return []
        })()
        for (const effect of effects)
          if (effect.type === 'accepted') consumed += effect.contribution.steps * 2
        const { pool, leases, accepted } = t.state
        const leased = Object.values(leases).reduce((sum, lease) => sum + countSequences(lease.ranges), 0)
        expect(consumed + leased + countSequences(pool.returned)).toBe(pool.epoch * 100 + pool.cursor)
        expect(Object.keys(leases).length + Object.keys(accepted).length).toBeLessThanOrEqual(3)
      }
      expect(t.state.round).toBeGreaterThan(3)
    },
  )
})
