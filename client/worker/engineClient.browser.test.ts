import { afterAll, expect, test } from 'vitest'
import { engineContract, randomSequences, TINY, tinyParameters } from '../../shared/engine/contract.ts'
import { chooseBackend } from './chooseBackend.ts'
import { startEngine } from './engineClient.ts'
import { measureBackend } from './measureBackend.ts'

engineContract('the engine in its Worker, on wasm', (config) => startEngine('wasm', config))

test('terminating the Worker rejects every waiting call at once, and every later one', async () => {
  const engine = await startEngine('wasm', TINY)
  await engine.setParameters(tinyParameters())
  await engine.pause()
  const sequences = randomSequences(TINY, 2, 'held')
  const job = engine.train({
    sequences,
    steps: 1,
    batchSize: 2,
    firstStep: 0,
    totalSteps: 10,
    peakLearningRate: 0.01,
  })
  engine.terminate()
  await expect(job).rejects.toMatchObject({ name: 'EngineError', code: 'engine/device-lost' })
  await expect(engine.getParameters()).rejects.toMatchObject({ code: 'engine/device-lost' })
  expect((await engine.ended).code).toBe('engine/device-lost')
})

test('measures other weights and leaves the replica as it was', async () => {
  const [engine, other] = [await startEngine('wasm', TINY), await startEngine('wasm', TINY)]
  await engine.setParameters(tinyParameters())
  const job = { steps: 1, batchSize: 2, firstStep: 5, totalSteps: 10, peakLearningRate: 0.01 }
  const sequences = randomSequences(TINY, 2, 'measured')
  await engine.train({ ...job, sequences })
  const before = [await engine.getParameters(), await engine.getOptimiserState()]
  await other.setParameters(tinyParameters())
  const expected = await other.evaluate(sequences)
  expect(await engine.evaluateAt(tinyParameters(), sequences)).toEqual(expected)
  expect(await engine.evaluate(sequences)).not.toEqual(expected)
  expect([await engine.getParameters(), await engine.getOptimiserState()]).toEqual(before)
  await engine.train({ ...job, sequences, firstStep: 6 }) // and goes on
  engine.terminate()
  other.terminate()
})

test('a model too large for the memory ends with a reason, not with silence', async () => {
  const huge = { ...TINY, vocabSize: 2 ** 24, dModel: 768, headDim: 256 } // 48 GiB
  await expect(startEngine('wasm', huge)).rejects.toThrow()
})

test('an aborted start leaves nothing behind', async () => {
  const reason = new Error('changed my mind')
  await expect(startEngine('wasm', TINY, AbortSignal.abort(reason))).rejects.toBe(reason)
  const later = new AbortController()
  const start = startEngine('wasm', TINY, later.signal)
  later.abort(reason)
  await expect(start).rejects.toBe(reason)
})

test('measures real steps in a Worker of their own', async () => {
  const fits = [1, 2, 4].map((microBatch) => ({ microBatch, peakBytes: microBatch }))
  const { tokensPerSecond, microBatch, peakBytes } = await measureBackend('wasm', TINY, fits)
  expect(tokensPerSecond).toBeGreaterThan(0)
  expect(peakBytes).toBe(microBatch)
})

test('chooses wasm where the GPU is a program, and remembers', async () => {
  const tested: string[] = []
  const options = { batchSize: 2, onTesting: (backend: string) => void tested.push(backend) }
  const choice = await chooseBackend(TINY, options)
  expect(choice.backend).toBe('wasm')
  expect(choice.tokensPerSecond).toBeGreaterThan(0)
  expect([1, 2]).toContain(choice.microBatch)
  expect(choice.measurements.map(({ note }) => note)).toEqual([
    'software adapter, runs on the CPU, not measured',
    'on the CPU',
    'software adapter, runs on the CPU, not measured',
  ])
  expect(await chooseBackend(TINY, options)).toEqual(choice)
  expect(tested).toEqual(['wasm'])
})

afterAll(() => localStorage.clear())
