import { describe, expect, it } from 'vitest'
import { defaultRunConfig } from '../../shared/protocol/defaults.ts'
import { freshMachine, type Machine } from '../rounds/state.ts'
import { PhaseClock } from './phases.ts'

const HASH = 'a'.repeat(64)
const ready = freshMachine({
  run: 'run-00000001',
  config: defaultRunConfig('nano'),
  sequenceLength: 64,
  sequencesPerEpoch: 1_000,
  fragments: [{ parameters: 10, weights: HASH, exact: null, velocity: null, largest: 1 }],
})
const gathering: Machine = { ...ready, status: 'running' }
const training: Machine = { ...gathering, phase: 'training' }
const merging: Machine = { ...gathering, phase: 'merging' }

/** Every phase that ended on the way through states, each with the second at which it was committed. */
function passedThrough(...states: (readonly [Machine, number])[]) {
  const clock = new PhaseClock()
  return states.slice(1).flatMap(([after, seconds], i) => {
    const [before] = states[i] as readonly [Machine, number] // one before each
    return clock.passed({ before, after, now: 1_000 * seconds })
  })
}

describe('the phases of rounds', () => {
  it('last from one commit to another', () => {
    const through = passedThrough([ready, 0], [gathering, 10], [training, 13], [training, 20], [merging, 40])
    expect(through).toEqual([
      { phase: 'gathering', seconds: 3 },
      { phase: 'training', seconds: 27 },
    ])
  })

  it('gather for no time when the next round opens at once', () => {
    const next = { ...training, round: 2 }
    const through = passedThrough([ready, 0], [gathering, 1], [training, 2], [merging, 3], [next, 5])
    expect(through.slice(2)).toEqual([
      { phase: 'merging', seconds: 2 },
      { phase: 'gathering', seconds: 0 },
    ])
  })

  it('do not count pauses, but merges go on', () => {
    const paused = { ...training, status: 'paused' } as const
    const pausedMerge = { ...merging, status: 'paused' } as const
    const next = { ...gathering, status: 'paused', round: 2 } as const
    const through = passedThrough(
      ...([
        [ready, 0],
        [gathering, 0],
        [training, 0],
        [paused, 4],
        [training, 100],
        [merging, 101],
      ] as const),
      ...([
        [pausedMerge, 102],
        [next, 105],
      ] as const),
    )
    expect(through.slice(1)).toEqual([
      { phase: 'training', seconds: 5 },
      { phase: 'merging', seconds: 4 },
    ])
  })

  it('are left out when nobody saw them begin', () => {
    const through = passedThrough(
      [training, 0],
      [training, 50],
      [merging, 60],
      [{ ...gathering, round: 2 }, 61],
    )
    expect(through).toEqual([{ phase: 'merging', seconds: 1 }])
  })

  it('are not mixed up with those of the run before', () => {
    const other = { ...ready, run: 'run-00000002' }
    const begun = { ...gathering, run: other.run }
    const clock = new PhaseClock()
    clock.passed({ before: ready, after: gathering, now: 0 })
    clock.passed({ before: other, after: begun, now: 90_000 })
    const after: Machine = { ...begun, phase: 'training' }
    expect(clock.passed({ before: begun, after, now: 91_000 })).toEqual([{ phase: 'gathering', seconds: 1 }])
  })
})
