import { describe, expect, it } from 'vitest'
import { WAIT_REASONS, type WaitReason } from '../../shared/protocol/run.ts'
import type { SwarmState } from '../swarm/view.ts'
import { fakeRun } from './fakes.ts'
import { type Scene, stateKey, tellState, trainingLeft } from './stateText.ts'

const NOW = 1_700_000_000_000
const scene = (changes: Partial<Scene> = {}): Scene => ({
  run: fakeRun(),
  backend: 'webgpu',
  finishing: false,
  now: NOW,
  deadlineAt: null,
  ...changes,
})
const waiting = (reason: WaitReason, changes: Partial<Scene> = {}) =>
  tellState({ kind: 'waiting', reason }, scene(changes)).text
const training = {
  kind: 'training',
  round: 3,
  step: 40,
  steps: 100,
  tokensPerSecond: 512,
  loss: 5,
  deadlineAt: null,
} as const

/** One of each kind; the type makes a new kind show up here. */
const EVERY: { [K in SwarmState['kind']]: Extract<SwarmState, { kind: K }> } = {
  ready: { kind: 'ready' },
  insecure: { kind: 'insecure', url: 'https://example.test/' },
  unsupported: { kind: 'unsupported', missing: 'WebAssembly' },
  connecting: { kind: 'connecting', attempt: 1, retryAt: null },
  loading: { kind: 'loading', doneBytes: 0, totalBytes: 0 },
  testing: { kind: 'testing', backend: null },
  waiting: { kind: 'waiting', reason: 'gathering' },
  training,
  ahead: { kind: 'ahead', round: 4 },
  sending: { kind: 'sending', round: 3, doneBytes: 1_000_000, totalBytes: 2_000_000 },
  checking: { kind: 'checking', round: 3 },
  paused: { kind: 'paused', heldLease: true },
  stopped: { kind: 'stopped', contributions: 2, tokens: 102_400 },
  removed: { kind: 'removed', reason: 'spam' },
  'engine-lost': { kind: 'engine-lost', backend: 'webgpu', next: 'webgpu', restarts: 1, heldLease: true },
  'other-tab': { kind: 'other-tab' },
  failed: { kind: 'failed', code: 'engine/not-finite', message: 'The loss is no number.' },
}

describe('every state', () => {
  const cases = [
    ...Object.values(EVERY),
    ...WAIT_REASONS.map((reason): SwarmState => ({ kind: 'waiting', reason })),
  ]
  for (const run of [null, fakeRun()]) {
    it(`has a word and a sentence ${run === null ? 'without' : 'with'} a run`, () => {
      for (const state of cases) {
        const told = tellState(state, scene({ run }))
        expect(told.word, state.kind).not.toBe('')
        expect(told.text, state.kind).toMatch(/[.)]$/)
        expect(told.text, state.kind).not.toMatch(/undefined|null|NaN|!|\berror\b/i)
      }
    })
  }
  it('has a sentence of its own for every reason to wait', () => {
    const texts = WAIT_REASONS.map((reason) => waiting(reason))
    expect(new Set(texts).size).toBe(WAIT_REASONS.length)
  })
  it('is urgent only where the person has to act', () => {
    const urgent = Object.values(EVERY).filter((state) => tellState(state, scene()).urgent)
    expect(urgent.map((state) => state.kind)).toEqual(['insecure', 'unsupported', 'removed', 'failed'])
  })
})

describe('waiting for a quorum', () => {
  it('counts who is missing and who is here', () => {
    expect(waiting('gathering')).toBe(
      'Waiting for 1 more volunteer. The round starts at 3; 2 are here. Your GPU is idle.',
    )
    expect(waiting('gathering', { run: fakeRun({ present: 1 }), backend: 'wasm' })).toBe(
      'Waiting for 2 more volunteers. The round starts at 3; 1 is here. Your CPU is idle.',
    )
  })
  it('does not ask for a negative number of people', () => {
    expect(waiting('gathering', { run: fakeRun({ present: 5 }) })).toContain('Enough volunteers are here')
  })
})

describe('waiting for the others', () => {
  it('says for how many, and until when', () => {
    expect(waiting('contributed')).toBe('Your update for round 3 is in. Waiting for 3 others.')
    expect(waiting('contributed', { deadlineAt: NOW })).toMatch(
      /Waiting for 3 others, until \d\d:\d\d at the latest/,
    )
  })
  it('says when a full round makes room', () => {
    const run = fakeRun({ config: { ...fakeRun().config, overlap: false } })
    const full = (deadlineAt: number) => waiting('round-full', { run, deadlineAt })
    expect(full(NOW + 90_000)).toContain('in 1 min 30 s at the latest')
    expect(full(NOW - 1)).toContain('You join the next one.')
  })
  it('promises no place in the next round where others may have them all', () => {
    const { config } = fakeRun()
    const crowd = fakeRun({ config: { ...config, overlap: false }, present: 2 * config.replicas + 1 })
    const keeping = fakeRun({ config: { ...config, overlap: true } })
    for (const run of [crowd, keeping]) {
      const text = waiting('round-full', { run, deadlineAt: NOW + 90_000 })
      expect(text).toContain('You are in line, and take the next place that comes free.')
    }
  })
})

describe('a run that failed', () => {
  it('gives the operator’s problem and takes the blame from the volunteer', () => {
    const told = waiting('failed', { run: fakeRun({ problem: 'The corpus is missing.' }) })
    expect(told).toContain('The corpus is missing.')
    expect(told).toContain('Nothing on your side caused it.')
  })
})

describe('training', () => {
  it('shows step, round and speed, and the dash while the speed is unknown', () => {
    expect(tellState(training, scene()).text).toBe('Step 40 of 100 in round 3, 512 tokens/s.')
    expect(tellState({ ...training, tokensPerSecond: 0 }, scene()).text).toContain('– tokens/s')
  })
  it('says how long the last round still takes', () => {
    // 60 steps of 8 sequences of 64 tokens at 512 tokens a second are 60 seconds.
    expect(trainingLeft(training, fakeRun())).toBe(60_000)
    expect(tellState(training, scene({ finishing: true })).text).toBe(
      'Finishing round 3, then stopping. About 1 min left.',
    )
  })
  it('counts down to the deadline', () => {
    expect(tellState(training, scene({ deadlineAt: NOW + 5 })).next).toEqual({
      label: 'Round closes in',
      at: NOW + 5,
    })
  })
})

describe('connecting again', () => {
  it('says when the next try is and which it is', () => {
    const told = tellState({ kind: 'connecting', attempt: 3, retryAt: NOW + 8_000 }, scene())
    expect(told.text).toBe('Can’t reach the server. Next try in 8 s (number 3).')
  })
})

describe('what is worth announcing', () => {
  it('is a new round or a new state, not a new step', () => {
    const key = (state: SwarmState) => stateKey({ state, finishing: false })
    expect(key(training)).toBe(key({ ...training, step: 41, tokensPerSecond: 600 }))
    expect(key(training)).not.toBe(key({ ...training, round: 4 }))
    expect(key(EVERY.waiting)).not.toBe(key({ kind: 'waiting', reason: 'merging' }))
    expect(stateKey({ state: training, finishing: true })).not.toBe(key(training))
  })
})

describe('a lost engine', () => {
  const lost = EVERY['engine-lost']
  it('is counted while it restarts', () => {
    expect(tellState(lost, scene()).text).toBe(
      'The GPU stopped responding. Restarting it (number 1); some steps may be repeated.',
    )
  })
  it('names what takes its place', () => {
    expect(tellState({ ...lost, restarts: 2, next: 'wasm' }, scene({ backend: 'wasm' })).text).toBe(
      'WebGPU stopped responding again. Going on with Wasm; some steps may be repeated.',
    )
  })
})
