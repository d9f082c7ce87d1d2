import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { defaultRunConfig } from './defaults.ts'
import { LIMITS } from './limits.ts'
import { newsBetween, runNewsSchema, thinned, withNews } from './news.ts'
import type { RoundSummary, RunView } from './run.ts'

const roundOf = (round: number, valLoss: number | null = null): RoundSummary => ({
  ...{
    round,
    replicas: 8,
    tokens: 65_536,
    steps: 240,
    totalTokens: 65_536 * round,
    trainLoss: 5.4321,
    valLoss,
  },
  ...{ bitsPerByte: valLoss, seconds: 61.25, bytesUp: 700_000, bytesDown: 1_400_000, outerLearningRate: 0.8 },
  closedAt: 1_700_000_000_000 + round,
})

/** A run after so many rounds, of which those named have been measured. */
function viewAfter(rounds: number, measured: ReadonlySet<number>, more: Partial<RunView> = {}): RunView {
  const all = Array.from({ length: rounds }, (_, i) => roundOf(i + 1, measured.has(i + 1) ? 4 : null))
  return {
    ...{
      id: 'run_12345678',
      config: defaultRunConfig('nano'),
      status: 'running',
      problem: null,
      phase: 'training',
    },
    ...{ round: rounds + 1, era: 0, deadlineAt: null, extensions: 0, present: 2, leased: 1, accepted: 1 },
    ...{ parameters: 172_480, tokens: 65_536 * rounds, contributors: 5, weights: null, manifest: null },
    ...{ initialValLoss: null, initialBitsPerByte: null, evaluation: null, tasks: [], samples: [] },
    ...{ history: thinned(all), now: rounds, ...more },
  }
}

/** As a tab hears it. */
function heard(view: RunView, next: RunView): RunView {
  const news = newsBetween(view, next)
  if (news === 'everything') return next
  return news === 'nothing' ? view : withNews(view, runNewsSchema.parse(JSON.parse(JSON.stringify(news))))
}

describe('news', () => {
  it('lead every tab to the view that the coordinator has, whenever it came', () => {
    const step = fc.record({
      rounds: fc.integer({ min: 0, max: 200 }),
      measured: fc.array(fc.integer({ min: 1, max: 1_500 }), { maxLength: 3 }),
      present: fc.integer({ min: 0, max: 5 }),
      comes: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), (steps) => {
        let told = viewAfter(0, new Set())
        let tabs = [told]
        const measured = new Set<number>()
        let rounds = 0
        for (const one of steps) {
          rounds += one.rounds
          for (const round of one.measured) measured.add(round)
          const view = viewAfter(rounds, measured, { present: one.present })
          // One that comes between two messages knows more than was told to the others.
          if (one.comes) tabs.push(viewAfter(Math.max(rounds - one.rounds, rounds - 1), measured))
          const before = told
          tabs = tabs.map((tab) => {
            const news = newsBetween(before, view)
            if (news === 'nothing') return tab
            return news === 'everything' ? view : withNews(tab, news)
          })
          told = view
          const [first, ...others] = tabs.map((tab) => JSON.stringify(tab.history))
          expect(first).toBe(JSON.stringify(view.history))
          for (const other of others) expect(other).toBe(first)
          const whole = [tabs[0], view].map((one) => ({ ...one, history: [], now: 0 }))
          expect(whole[0]).toEqual(whole[1])
        }
      }),
      { numRuns: 60 },
    )
  })

  it('are a few bytes when numbers change, however long the run is', () => {
    const view = viewAfter(1_000, new Set([1_000]))
    const news = newsBetween(view, { ...view, accepted: 3, leased: 5, now: 2_000 })
    expect(news).toEqual({ accepted: 3, leased: 5, now: 2_000 })
    expect(JSON.stringify(view).length).toBeGreaterThan(50_000)
  })

  it('are the rounds that are new and those that were measured', () => {
    const news = newsBetween(viewAfter(1_000, new Set()), viewAfter(1_001, new Set([996, 1_000])))
    expect(news).toMatchObject({
      round: 1_002,
      history: [{ round: 996, valLoss: 4 }, { round: 1_000 }, { round: 1_001 }],
    })
  })

  it('are none when only time has passed', () => {
    expect(newsBetween(viewAfter(3, new Set()), viewAfter(3, new Set(), { now: 99 }))).toBe('nothing')
  })

  it.each([
    ['another run', viewAfter(0, new Set(), { id: 'run_87654321' })],
    ['a run that was rolled back', viewAfter(2, new Set(), { era: 1 })],
    ['fewer rounds', viewAfter(2, new Set())],
  ])('of %s are the whole view', (_name, after) => {
    const before = viewAfter(3, new Set())
    expect(newsBetween(before, after)).toBe('everything')
    expect(heard(before, after)).toEqual(after)
  })
})

describe('the history in a view', () => {
  it('has every round of a short run, and never many of a long one', () => {
    for (const rounds of [0, 1, 399, 400, 401, 799, 800, 12_345]) {
      const all = Array.from({ length: rounds }, (_, i) => roundOf(i + 1))
      const shown = thinned(all)
      expect(shown.length).toBeLessThanOrEqual(LIMITS.historyPoints)
      expect(shown.length).toBeGreaterThanOrEqual(Math.min(rounds, LIMITS.historyPoints / 2 - 1))
      expect(shown.at(-1)).toEqual(all.at(-1))
    }
  })
})
