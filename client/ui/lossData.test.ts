import { describe, expect, it } from 'vitest'
import type { RoundSummary } from '../../shared/protocol/run.ts'
import {
  CLIP_FROM_POINTS,
  inMetric,
  isClipped,
  lastHeldOut,
  lossCsv,
  lossPoints,
  lossRange,
  lossSummary,
  moveByKey,
  pointText,
  smooth,
  spreadLabels,
} from './lossData.ts'

const round = (n: number, trainLoss: number, valLoss: number | null): RoundSummary => ({
  round: n,
  replicas: 4,
  tokens: 1_000,
  steps: 10,
  totalTokens: 1_000 * n,
  trainLoss,
  valLoss,
  bitsPerByte: null,
  seconds: 60,
  bytesUp: 0,
  bytesDown: 0,
  outerLearningRate: 0.7,
  closedAt: 1_700_000_000_000 + n,
})

describe('points', () => {
  it('start with the untrained model at 0 tokens', () => {
    const points = lossPoints([round(1, 5, 5.5)], 6.9)
    expect(points.map((point) => [point.tokens, point.heldOut, point.training])).toEqual([
      [0, 6.9, null],
      [1_000, 5.5, 5],
    ])
  })
  it('find the newest held-out loss behind rounds still being evaluated', () => {
    expect(lastHeldOut(lossPoints([round(1, 5, 5.5), round(2, 4, null)], 6.9))?.round).toBe(1)
  })
})

describe('measures', () => {
  const first = { ...round(1, Math.log(50), Math.log(100)), bitsPerByte: 2.5 }
  const points = lossPoints([first, round(2, Math.log(20), null)], Math.log(1_000), 3.4)

  it('perplexity is the exponential of both lines', () => {
    const shown = inMetric(points, 'perplexity').map(({ heldOut, training }) => [heldOut, training])
    expect(shown[0]?.[0]).toBeCloseTo(1_000)
    expect(shown[0]?.[1]).toBeNull()
    expect(shown[1]?.map(Math.round as (n: unknown) => number)).toEqual([100, 50])
    expect(shown[2]?.[0]).toBeNull() // not measured yet, and not e to the 0
  })
  it('bits per byte are of the held-out text only', () => {
    const shown = inMetric(points, 'bits').map(({ heldOut, training }) => [heldOut, training])
    expect(shown).toEqual([
      [3.4, null],
      [2.5, null],
      [null, null],
    ])
  })
  it('are all in the sentence of a point that was measured', () => {
    const [, measured, unmeasured] = points
    expect(measured && pointText(measured)).toContain(
      'held-out 4.605 (perplexity 100, 2.500 bits per byte), training',
    )
    expect(unmeasured && pointText(unmeasured)).not.toContain('perplexity')
  })
})

describe('the range', () => {
  it('holds every value with a twentieth of air', () => {
    expect(lossRange(lossPoints([round(1, 4, 5)], 6), false)).toEqual([3.9, 6.1])
  })
  it('is 0 to 1 while there is nothing', () => {
    expect(lossRange([], false)).toEqual([0, 1])
  })
  it('leaves out the first fiftieth of a long run, unless asked for all of it', () => {
    const many = Array.from({ length: 100 }, (_, i) => round(i + 1, 3, 3))
    const points = lossPoints(many, 7)
    expect(points.length).toBeGreaterThan(CLIP_FROM_POINTS)
    expect(isClipped(points, false)).toBe(true)
    expect(lossRange(points, false)).toEqual([2.9, 3.1])
    expect(lossRange(points, true)).toEqual([2.8, 7.2])
  })
})

describe('smoothing', () => {
  it('is a moving average that starts at the first value', () => {
    // By hand: (0.6×0.4×10 + 0.4×5) / (0.6×0.4 + 0.4) = 4.4 / 0.64.
    const [first, unknown, second] = smooth([10, null, 5])
    expect(first).toBeCloseTo(10)
    expect(unknown).toBeNull()
    expect(second).toBeCloseTo(6.875)
  })
  it('leaves a flat line where it is', () => {
    for (const value of smooth([3, 3, 3, 3])) expect(value).toBeCloseTo(3)
  })
})

describe('labels at the ends of the lines', () => {
  it('stay where they are when there is room', () => {
    expect(spreadLabels([10, 50], 16)).toEqual([10, 50])
  })
  it('move apart and keep their order', () => {
    expect(spreadLabels([52, 50], 16)).toEqual([66, 50])
  })
})

describe('the sentence', () => {
  it('says where the loss came from and how far it went', () => {
    expect(lossSummary(lossPoints([round(1, 5, 5.5), round(2, 4, 4.25)], 6.75))).toBe(
      'Held-out loss 4.250, down 2.500 from 6.750 untrained, 2 rounds.',
    )
  })
  it('says so when it went up', () => {
    expect(lossSummary(lossPoints([round(1, 5, 7)], 6.75))).toContain('up 0.250')
  })
  it('tells the untrained loss before the first round', () => {
    expect(lossSummary(lossPoints([], 6.75))).toContain('untrained')
  })
  it('tells the training loss while the first evaluation runs', () => {
    expect(lossSummary(lossPoints([round(1, 5, null)], 6.75))).toContain('Training loss 5.000')
  })
  it('says that there is nothing yet', () => {
    expect(lossSummary([])).toBe('No round has finished yet.')
  })
})

describe('the file', () => {
  it('leaves unknown cells empty', () => {
    const lines = lossCsv(lossPoints([round(1, 5, null)], 6.75)).split('\n')
    expect(lines[1]).toBe('0,0,6.75,,,,')
    expect(lines[2]).toBe('1,1000,,,5,4,2023-11-14T22:13:20.001Z')
  })
})

describe('keys', () => {
  it('begin at the newest point and stay inside', () => {
    expect(moveByKey('ArrowLeft', null, 5)).toBe(4)
    expect(moveByKey('ArrowRight', 4, 5)).toBe(4)
    expect(moveByKey('PageUp', 3, 5)).toBe(0)
    expect(moveByKey('Home', 3, 5)).toBe(0)
    expect(moveByKey('End', 0, 5)).toBe(4)
  })
  it('leave by Escape and let every other key through', () => {
    expect(moveByKey('Escape', 3, 5)).toBeNull()
    expect(moveByKey('Tab', 3, 5)).toBeUndefined()
  })
})
