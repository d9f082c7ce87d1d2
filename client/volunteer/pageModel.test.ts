import { describe, expect, it } from 'vitest'
import { fakeRun, fakeView } from './fakes.ts'
import { enabledControls, lostWork, samplesOf, showsWork } from './pageModel.ts'

const training = {
  kind: 'training',
  round: 3,
  step: 40,
  steps: 100,
  tokensPerSecond: 512,
  loss: null,
  deadlineAt: null,
} as const

describe('which page is drawn', () => {
  it('explains before the click and shows the work from then on', () => {
    expect(showsWork(fakeView())).toBe(false)
    expect(showsWork(fakeView({ contributing: true }))).toBe(true)
    expect(showsWork(fakeView({ state: { kind: 'stopped', contributions: 0, tokens: 0 } }))).toBe(true)
  })
  it('keeps a removed volunteer’s work in sight, and tells a newcomer on the first page', () => {
    const removed = fakeView({ state: { kind: 'removed', reason: 'x' } })
    expect(showsWork(removed)).toBe(false)
    expect(showsWork({ ...removed, me: { ...removed.me, steps: 5 } })).toBe(true)
  })
})

describe('which buttons work', () => {
  it('is Start alone before the click', () => {
    expect(enabledControls(fakeView())).toEqual({
      start: true,
      pause: false,
      resume: false,
      finish: false,
      stop: false,
    })
  })
  it('is Pause, Finish and Stop while training', () => {
    expect(enabledControls(fakeView({ contributing: true, state: training }))).toEqual({
      start: false,
      pause: true,
      resume: false,
      finish: true,
      stop: true,
    })
  })
  it('is Resume and Stop while paused without work', () => {
    const can = enabledControls(fakeView({ contributing: true, state: { kind: 'paused', heldLease: false } }))
    expect(can).toEqual({ start: false, pause: false, resume: true, finish: false, stop: true })
  })
  it('is Pause, Finish and Stop while a lost engine restarts for work in hand', () => {
    const state = {
      kind: 'engine-lost',
      backend: 'webgpu',
      next: 'wasm',
      restarts: 2,
      heldLease: true,
    } as const
    const view = fakeView({ contributing: true, state })
    expect(enabledControls(view)).toEqual({
      start: false,
      pause: true,
      resume: false,
      finish: true,
      stop: true,
    })
    expect(lostWork(view)).toBe('finished work')
  })
  it('lets a wish to finish be taken back while waiting', () => {
    const state = { kind: 'waiting', reason: 'merging' } as const
    expect(enabledControls(fakeView({ contributing: true, state })).finish).toBe(false)
    expect(enabledControls(fakeView({ contributing: true, state, finishing: true })).finish).toBe(true)
  })
  it('is none where the tab cannot train', () => {
    for (const state of [
      { kind: 'insecure', url: '' },
      { kind: 'unsupported', missing: '' },
      { kind: 'removed', reason: '' },
    ] as const) {
      expect(Object.values(enabledControls(fakeView({ state })))).not.toContain(true)
    }
  })
})

describe('what Stop would lose', () => {
  it('is named in steps and time', () => {
    // 40 steps of 8 sequences of 64 tokens at 512 tokens a second are 40 seconds.
    expect(lostWork(fakeView({ state: training }))).toBe('40 steps, 40 s of work,')
    expect(lostWork(fakeView({ state: training, run: null }))).toBe('40 steps')
  })
  it('is nothing before the first step and while waiting', () => {
    expect(lostWork(fakeView({ state: { ...training, step: 0 } }))).toBeNull()
    expect(lostWork(fakeView({ state: { kind: 'waiting', reason: 'contributed' } }))).toBeNull()
    expect(lostWork(fakeView({ state: { kind: 'paused', heldLease: false } }))).toBeNull()
  })
  it('includes an update that is not in yet', () => {
    const state = { kind: 'sending', round: 3, doneBytes: 1, totalBytes: 2 } as const
    expect(lostWork(fakeView({ state }))).not.toBeNull()
  })
})

describe('samples', () => {
  it('are the untrained one and the newest, in whatever order they come', () => {
    const samples = [
      { round: 4, text: 'd' },
      { round: 0, text: 'a' },
      { round: 9, text: 'i' },
    ]
    const { newest, untrained } = samplesOf(fakeRun({ samples }))
    expect([newest?.text, untrained?.text]).toEqual(['i', 'a'])
    expect(samplesOf(null)).toEqual({ newest: null, untrained: null })
  })
})
