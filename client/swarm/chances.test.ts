import { describe, expect, it } from 'vitest'
import { REJECTION_REASONS, type Receipt, type RunView, type WaitReason } from '../../shared/protocol/run.ts'
import { fakeRun } from '../volunteer/fakes.ts'
import { chancesOf, isOver, patienceOf, prospectsOf, reasonToWait, wantsAnother } from './chances.ts'

const run = fakeRun({ round: 5, era: 1 })
const lease = (round: number, era: number) => ({ run: run.id, round, era })

describe('a receipt', () => {
  const base = { lease: 'lease-1', round: 5, message: '' }
  it('says that the round may want another contribution in its place unless it is over or counts', () => {
    const rejected = REJECTION_REASONS.map((reason): Receipt => ({ ...base, result: 'rejected', reason }))
    const left = rejected.filter(wantsAnother).map((receipt) => 'reason' in receipt && receipt.reason)
    expect(left).toEqual([
      'lapsed',
      'wrong-length',
      'hash-mismatch',
      'not-finite',
      'too-large-step',
      'bad-steps',
    ])
    expect(wantsAnother({ ...base, result: 'accepted', tokens: 1, repeated: false })).toBe(false)
  })
})

describe('a lease', () => {
  it.each<[string, ReturnType<typeof lease>, boolean]>([
    ['of this round', lease(5, 1), false],
    ['of the round ahead', lease(6, 1), false],
    ['of a round that has closed', lease(4, 1), true],
    ['of an era that was rolled back, whatever its round', lease(6, 0), true],
    ['of an era that this tab has not heard of yet', lease(3, 2), false],
    ['of another run', { ...lease(5, 1), run: 'run-00000002' }, true],
  ])('%s is over: %s', (_name, one, over) => {
    expect(isOver(one, run)).toBe(over)
  })
  it('is over with its run', () => {
    expect(isOver(lease(5, 1), fakeRun({ round: 5, era: 1, status: 'ended' }))).toBe(true)
    expect(isOver(lease(5, 1), null)).toBe(true)
  })
})

describe('a tab that was refused a lease', () => {
  it('asks again when there is another run, era or weights, and not when numbers or rounds change', () => {
    const asked = prospectsOf(run)
    for (const same of [
      { present: 9 },
      { accepted: 2, leased: 0 },
      { round: 6 },
      { phase: 'merging' as const },
    ])
      expect(prospectsOf(fakeRun({ round: 5, era: 1, ...same }))).toBe(asked)
    expect(prospectsOf(fakeRun({ round: 5, era: 1, status: 'paused' }))).toBe(asked)
    for (const other of [
      null,
      fakeRun({ era: 2 }),
      fakeRun({ era: 1, id: 'run_87654321' }),
      fakeRun({ era: 1, status: 'ended' }),
      fakeRun({ era: 1, weights: [{ hash: 'a'.repeat(64), bytes: 4, deltas: [] }] }),
    ])
      expect(prospectsOf(other)).not.toBe(asked)
  })

  it('looks up when a round begins or there is something to measure', () => {
    expect(chancesOf({ ...run, accepted: 2, present: 9 })).toBe(chancesOf(run))
    expect(chancesOf({ ...run, round: 6 })).not.toBe(chancesOf(run))
    const evaluation = { round: 4, slices: 13, settled: 0 } as RunView['evaluation']
    expect(chancesOf({ ...run, evaluation })).not.toBe(chancesOf(run))
  })

  it('asks uncalled the more seldom the more there are', () => {
    expect(patienceOf({ ...run, present: 3 })).toBe(30_000)
    expect(patienceOf({ ...run, present: 1_000 })).toBe(100_000)
  })

  it.each<[string, Partial<RunView> | null, WaitReason]>([
    ['as it was', {}, 'contributed'],
    ['as it was, with other numbers', { accepted: 3 }, 'contributed'],
    ['merging', { phase: 'merging' }, 'merging'],
    ['in the next round, for which it was not called', { round: 6 }, 'round-full'],
    ['in the next round, which waits for people', { round: 6, phase: 'gathering' }, 'gathering'],
    ['paused', { status: 'paused' }, 'paused'],
    ['ended', { status: 'ended' }, 'ended'],
    ['another, which has not begun', { id: 'run_87654321', status: 'ready' }, 'not-started'],
    ['gone', null, 'no-run'],
  ])('says why it waits when the run is %s', (_name, now, reason) => {
    expect(reasonToWait('contributed', run, now && { ...run, ...now })).toBe(reason)
  })
})
