import { describe, expect, test } from 'vitest'
import { PRESET_NAMES, PRESETS } from '../../model/config.ts'
import { parameterLayout } from '../../model/layout.ts'
import { predictPeakBytes } from '../tfjs/peakBytes.ts'
import { cpuChoices, gpuChoices } from './choices.ts'
import { elementwise, kernel, MOST_GROUPS } from './kernel.ts'
import { withoutLongDispatches } from './longDispatches.ts'
import {
  aligned,
  type Call,
  makeList,
  type Plan,
  place,
  scratch,
  type Tensor,
  tensor,
  withoutUnread,
} from './plan.ts'
import { planThatFits } from './plans.ts'
import { makeState } from './state.ts'
import { type StepShape, trainingPlan } from './step.ts'
import { memoryOf, summarise } from './summary.ts'

const ODD = { vocabSize: 53, layers: 2, heads: 3, dModel: 30, headDim: 10, hidden: 37, sequenceLength: 21 }

const shapes: Record<string, StepShape> = {
  'odd sizes': { state: makeState(ODD), sequences: 2, choices: cpuChoices() },
  nano: { state: makeState(PRESETS.nano), sequences: 8, choices: cpuChoices() },
  '35m on a GPU': { state: makeState(PRESETS['35m']), sequences: 1, choices: gpuChoices() },
  '35m with recomputed blocks': {
    state: makeState(PRESETS['35m']),
    sequences: 1,
    choices: gpuChoices(),
    recomputes: true,
  },
  'segments of a limited size': {
    state: makeState(PRESETS.micro, 2 ** 20),
    sequences: 2,
    choices: cpuChoices(),
  },
}

describe.each(Object.entries(shapes))('the plan of %s', (_name, shape) => {
  const plan = trainingPlan(shape)
  const calls = [...plan.pass, ...plan.update]

  test('no buffer is overwritten while somebody still needs what is in it', () => {
    const { of } = place(plan)
    const lastUse = new Map(
      calls.flatMap(({ views }, at) => views.map(({ tensor }) => [tensor, at] as const)),
    )
    const inside = new Map<number, Tensor>()
    for (const [at, call] of calls.entries()) {
      for (const [i, { tensor }] of call.views.entries()) {
        if (!tensor.scratch) continue
        const buffer = of.get(tensor) ?? -1
        const before = inside.get(buffer)
        if (before !== tensor) {
          expect(call.kernel.access[i], `${call.label} reads ${tensor.name}, which nobody has made`).toBe(
            'write',
          )
          expect(before === undefined || (lastUse.get(before) ?? 0) < at).toBe(true)
          inside.set(buffer, tensor)
        }
      }
    }
  })

  // WebGPU refuses a dispatch that has one buffer both to read and to write.
  test('no kernel reads and writes one buffer through two bindings', () => {
    const { of } = place(plan)
    for (const call of calls) {
      const buffers = call.views.map(({ tensor }) => of.get(tensor) ?? tensor)
      for (const [i, buffer] of buffers.entries()) {
        if (call.kernel.access[i] === 'read' || call.kernel.access[i] === 'uniform') continue
        expect(
          buffers.filter((other) => other === buffer),
          call.label,
        ).toHaveLength(1)
      }
    }
  })

  // 6·N·P of a transformer's training, P without the gains; a recomputed block is forward once more, its last product not.
  test('the products are as much arithmetic as the model says', () => {
    const { config } = shape.state
    const rows = shape.sequences * config.sequenceLength
    const { dModel: d, hidden: h, layers } = config
    const matrices = parameterLayout(config).filter(({ shape }) => shape.length === 2)
    const parameters = matrices.reduce((sum, { size }) => sum + size, 0)
    const again = shape.recomputes ? layers * (4 * d * d + 2 * d * h) : 0
    const flops = calls.reduce(
      (sum, { kernel }) => sum + (kernel.kind.startsWith('matmul') ? kernel.flops : 0),
      0,
    )
    expect(flops).toBe(rows * (6 * parameters + 2 * again))
  })

  test('at most 30 dispatches a layer, 40 with recomputation', () => {
    const ofLayer = plan.pass.filter(({ label }) => /^block 0\b/.test(label))
    expect(ofLayer.length).toBeLessThanOrEqual(shape.recomputes ? 40 : 30)
  })
})

// Products split along their depth are the ones that small micro-batches of small models have.
test.each(PRESET_NAMES)('at most 30 dispatches a layer of %s, whatever the micro-batch', (preset) => {
  const state = makeState({ ...PRESETS[preset], layers: 1, vocabSize: 512 }) // the output's chunks are no layer's
  for (const sequences of [1, 2, 3, 4, 8, 16, 32]) {
    for (const choices of [gpuChoices(), cpuChoices()]) {
      const { pass } = trainingPlan({ state, sequences, choices })
      const dispatches = pass.filter(({ label }) => /^block 0\b/.test(label)).length
      expect(dispatches, `${sequences} sequences`).toBeLessThanOrEqual(30)
    }
  }
})

test('memory shared over time is well below memory not shared, and recomputation saves more', () => {
  const roof = { flops: 1, bandwidth: 1 }
  const memoryOf = (name: string) => summarise(trainingPlan(shapes[name] as StepShape), roof).memory
  const [kept, again] = [memoryOf('35m on a GPU'), memoryOf('35m with recomputed blocks')]
  expect(kept.scratch).toBeLessThan(0.6 * kept.unshared)
  expect(again.scratch).toBeLessThan(0.6 * kept.scratch)
  expect(again.kept).toBe(kept.kept)
})

test('a micro-batch that is too large for a dispatch is refused in words', () => {
  const shape = { state: makeState(ODD), sequences: 1_000_000, choices: cpuChoices() }
  const refused = { code: 'engine/bad-job', message: expect.stringContaining('fewer sequences') }
  expect(() => trainingPlan(shape)).toThrow(expect.objectContaining(refused))
})

// fit.ts chooses the micro-batch by that prediction, and a device that is promised less than it gets is lost.
test.each(PRESET_NAMES)(
  'a step of %s takes no more memory than was predicted, whatever the micro-batch',
  (preset) => {
    const state = makeState(PRESETS[preset])
    for (const sequences of [1, 4, 16]) {
      for (const accumulates of [false, true]) {
        const plan = planThatFits({ state, sequences, choices: gpuChoices() }, accumulates)
        const shape = { backend: 'webgpu', microBatch: sequences, accumulates } as const
        expect(memoryOf(plan).peak).toBeLessThanOrEqual(predictPeakBytes(PRESETS[preset], shape))
      }
    }
  },
)

const double = (count: number) =>
  elementwise({
    kind: 'double',
    buffers: { x: 'read f32', y: 'write f32' },
    count,
    flops: count,
    body: 'y[i] = 2.0 * x[i];',
  })

function chain(): Plan {
  const list = makeList()
  const [a, b, c, d] = [tensor('a', 100), scratch('b', 100), scratch('c', 100), tensor('d', 100)]
  list.run('first', double(100), a, b)
  list.run('second', double(100), b, c)
  list.run('third', double(100), c, d)
  return { cleared: [], pass: list.calls, update: [] }
}

// Worked by hand: 100 elements read and 100 written are 800 bytes; b and c are rounded up to 128 elements each, and the
// second call binds those. 100 operations at 50 a second are 2 s, 1,024 bytes at 256 a second 4 s.
test('the roofline of a plan, in literal numbers', () => {
  const { total, memory, shaders } = summarise(chain(), { flops: 50, bandwidth: 256 })
  expect(total).toEqual({
    kind: 'all',
    calls: 3,
    flops: 300,
    bytes: 912 + 1_024 + 912,
    seconds: 11.125,
    longest: 4,
  })
  expect(shaders).toBe(1)
  expect(memory).toEqual({ kept: 800, scratch: 1_024, unshared: 1_024, peak: 1_824 })
})

// By hand: 2 s and 4 s at the roof, four times that to be careful, in parts of at most 3 s: 3, 6 and 5 parts of one
// workgroup of 2 each, so that no more than 2 can be made.
test('long dispatches are split, as far as their workgroups go', () => {
  const plan = chain()
  const split = withoutLongDispatches(plan, { flops: 50, bandwidth: 256 }, 3)
  expect(split.pass.map(({ label }) => label)).toEqual(
    ['first', 'second', 'third'].flatMap((of) => [`${of}, part 1 of 2`, `${of}, part 2 of 2`]),
  )
  expect(split.pass.map(({ kernel }) => kernel.groups)).toEqual(Array(6).fill([1, 1, 1]))
  expect(summarise(split, { flops: 50, bandwidth: 256 }).total).toMatchObject({
    ...{ calls: 6, flops: 300, bytes: 912 + 1_024 + 912, longest: 2 },
  })
  expect(withoutLongDispatches(plan, { flops: 50, bandwidth: 256 }, 16).pass).toEqual(plan.pass)
})

test('the parts of a dispatch are its workgroups, each once', () => {
  const whole = kernel({ kind: 'any', buffers: {}, threads: [1, 1], groups: [5, 3, 4], flops: 60, body: '' })
  const call = { label: 'any', kernel: whole, views: [] }
  const places = (count: number) => {
    const seconds = 4 / count // of 60 operations at 60 a second, four times to be careful
    const { pass } = withoutLongDispatches(
      { cleared: [], pass: [call], update: [] },
      { flops: 60, bandwidth: 1 },
      seconds,
    )
    expect(pass.length).toBeGreaterThanOrEqual(Math.min(count, 60))
    expect(pass.reduce((sum, { kernel: { flops } }) => sum + flops, 0)).toBeCloseTo(60)
    return pass.flatMap(({ kernel: { groups, constants } }) => {
      const [fromX = 0, fromY = 0, fromZ = 0] = constants
      const range = (from: number, size: number) => Array.from({ length: size }, (_, i) => from + i)
      return range(fromZ, groups[2]).flatMap((z) =>
        range(fromY, groups[1]).flatMap((y) => range(fromX, groups[0]).map((x) => `${x} ${y} ${z}`)),
      )
    })
  }
  for (const count of [2, 3, 4, 7, 12, 13, 59, 60, 1_000]) {
    const found = places(count)
    expect(found).toHaveLength(60)
    expect(new Set(found).size).toBe(60)
  }
})

test('states in f16 take half the memory that is not of parameters and sums', () => {
  const shape = shapes['35m on a GPU'] as StepShape
  const single = memoryOf(trainingPlan(shape))
  const half = memoryOf(trainingPlan({ ...shape, choices: { ...shape.choices, states: 'f16' } }))
  expect(half.kept).toBe(single.kept)
  expect(half.scratch).toBeLessThan(0.65 * single.scratch)
})

test('two tensors that follow one another share a buffer; two in one call do not', () => {
  const list = makeList()
  const [a, b, c, d] = [scratch('a', 64), scratch('b', 64), scratch('c', 64), scratch('d', 64)]
  list.run('first', double(64), a, b)
  list.run('second', double(64), b, c)
  list.run('third', double(64), c, d)
  const { buffers, of } = place({ cleared: [], pass: list.calls, update: [] })
  expect(buffers).toEqual([512, 512])
  expect([a, b, c, d].map((one) => of.get(one))).toEqual([0, 1, 0, 1])
})

test('more workgroups than a dimension has are spread over two', () => {
  const { groups } = double(64 * (MOST_GROUPS + 1))
  expect(groups).toEqual([32_768, 2, 1])
  expect(double(64 * MOST_GROUPS).groups).toEqual([MOST_GROUPS, 1, 1])
})

test('every tensor of a segment begins where a binding may', () => {
  const { places, parameters } = makeState(ODD)
  expect(places.every(({ offset }) => (4 * offset) % 256 === 0)).toBe(true)
  const total = parameterLayout(ODD).reduce((sum, { size }) => sum + aligned(size), 0)
  expect(parameters.map(({ size }) => size)).toEqual([total])
})

test('a model whose largest tensors no binding holds is refused in words', () => {
  expect(() => makeState(PRESETS.nano, 1_000)).toThrow(
    expect.objectContaining({ code: 'engine/backend-missing' }),
  )
})

test('calls whose results nobody reads are left out', () => {
  const list = makeList()
  const [a, b, c] = [tensor('a', 64), scratch('b', 64), scratch('c', 64)]
  list.run('wanted', double(64), a, b)
  list.run('unread', double(64), b, c)
  list.run('kept', double(64), b, tensor('d', 64))
  const labels = (calls: readonly Call[]) => calls.map(({ label }) => label)
  expect(labels(withoutUnread(list.calls))).toEqual(['wanted', 'kept'])
})
