/** The steady engine on real Workers and a real GPU device, which the test destroys. */
import { afterEach, expect, test, vi } from 'vitest'
import { engineContract, randomSequences, TINY, tinyParameters } from '../../shared/engine/contract.ts'
import type { Backend, TrainJob, TrainListener } from '../../shared/engine/engine.ts'
import { parameterCount } from '../../shared/model/layout.ts'
import { type Force, force, startLosable } from './forcedLoss.ts'
import { type SteadyEngine, type SteadyEvent, startSteadyEngine } from './steadyEngine.ts'

engineContract('the steady engine, on wasm', (config) =>
  startSteadyEngine({ candidates: [{ backend: 'wasm' }], config }),
)

const STEPS = 160
const JOB: TrainJob = {
  // Long enough that a device which is destroyed in its midst dies before its end.
  sequences: randomSequences(TINY, 2 * STEPS, 'steady'),
  steps: STEPS,
  batchSize: 2,
  firstStep: 3,
  totalSteps: 100,
  peakLearningRate: 0.01,
}

const request = () => ({
  codec: 'f16' as const,
  fragment: [{ offset: 0, size: parameterCount(TINY) }],
  decay: 1,
})

const opened: SteadyEngine[] = []
afterEach(() => {
  for (const engine of opened.splice(0)) engine.terminate()
})

async function open(...backends: Backend[]) {
  const candidates = backends.map((backend) => ({ backend }))
  const events: SteadyEvent[] = []
  const onEvent = (event: SteadyEvent) => void events.push(event)
  const engine = await startSteadyEngine({ candidates, config: TINY, onEvent, start: startLosable })
  opened.push(engine)
  await engine.setParameters(tinyParameters())
  return { engine, events }
}

/** Forces something with the first snapshot of each of these steps or a later one. */
function forcing(what: Force, ...steps: number[]): TrainListener {
  return {
    snapshotSeconds: 0.001,
    snapshot({ soFar }) {
      if (soFar.steps < (steps[0] ?? Number.POSITIVE_INFINITY)) return
      steps.shift()
      force(what)
    },
  }
}

/** ‖a − b‖ / ‖b‖ */
function distance(a: Float32Array, b: Float32Array): number {
  const size = (values: Float32Array) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0))
  return size(a.map((value, i) => value - (b[i] ?? Number.NaN))) / size(b)
}

async function stateOf(engine: SteadyEngine) {
  const [parameters, { firstMoment, updates }] = [
    await engine.getParameters(),
    await engine.getOptimiserState(),
  ]
  return { parameters, firstMoment, updates }
}
type State = Awaited<ReturnType<typeof stateOf>>

function expectSame(state: State, expected: State): void {
  expect(state.updates).toBe(expected.updates)
  expect(distance(state.parameters, expected.parameters)).toBeLessThan(1e-4)
  expect(distance(state.firstMoment, expected.firstMoment)).toBeLessThan(1e-3)
}

/** Which of the two events of a death arrives first is the browser's choice. */
const destroyed = expect.stringMatching(/^The GPU device (was lost \(destroyed\)|did not hand over)/)

test('S1, S2, S4: a device destroyed in mid-job, and two more in the next one: both end as if undisturbed, the last on wasm', async () => {
  const calm = await open('webgpu')
  const { meanLoss } = await calm.engine.train(JOB)
  const expected = await stateOf(calm.engine)
  calm.engine.terminate()

  const { engine, events } = await open('webgpu', 'wasm')
  const result = await engine.train(JOB, forcing('lose', 2))
  expect(events).toEqual([
    { kind: 'lost', backend: 'webgpu', reason: destroyed, attempt: 1 },
    { kind: 'restarted', backend: 'webgpu', step: expect.any(Number) },
  ])
  expect(events[1]).not.toMatchObject({ step: 0 })
  expect(result).toMatchObject({ steps: STEPS, tokens: STEPS * 2 * 7 })
  expect(Math.abs(result.meanLoss / meanLoss - 1)).toBeLessThan(1e-4)
  expectSame(await stateOf(engine), expected)

  events.length = 0
  const zeros = () => new Float32Array(expected.parameters.length)
  await engine.setParameters(tinyParameters())
  await engine.setOptimiserState({ firstMoment: zeros(), secondMoment: zeros(), updates: 0 })
  expect((await engine.train(JOB, forcing('lose', 2, 8))).steps).toBe(STEPS)
  expect(events.map(({ kind }) => kind)).toEqual(['lost', 'restarted', 'lost', 'fell-back', 'restarted'])
  expect(engine.backend).toBe('wasm')
  expectSame(await stateOf(engine), expected)
})

test('S1, S3: work that the GPU refuses ends the Worker too, and the next one has all that was kept', async () => {
  const { engine, events } = await open('webgpu')
  await engine.train({ ...JOB, steps: 2, sequences: JOB.sequences.subarray(0, 2 * 2 * 8) })
  const [before, bytes] = [await stateOf(engine), await engine.contribution(request())]
  force('refuse')
  await vi.waitUntil(() => events.length === 2, { timeout: 60_000 })
  expect(events).toEqual([
    { kind: 'lost', backend: 'webgpu', reason: expect.stringContaining('The GPU refused work'), attempt: 1 },
    { kind: 'restarted', backend: 'webgpu', step: null },
  ])
  expect(await stateOf(engine)).toEqual(before)
  expect(before.updates).toBe(2)
  await engine.setResidual(new Float32Array(parameterCount(TINY)))
  expect(await engine.contribution(request())).toEqual(bytes)
})
