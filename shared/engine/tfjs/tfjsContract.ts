/**
 * What must hold of the TensorFlow.js engine's parts on every backend, as tests: `tfjsContract(backend, paths)`
 * registers them. The engine's visible behaviour is ../contract.ts's, its numbers are ../numerics.ts's; here are memory,
 * the recipe in literal numbers, and implementations compared with one another.
 */
import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { initialParameters } from '../../model/initial.ts'
import { parameterCount, parameterLayout } from '../../model/layout.ts'
import { randomSequences, TINY, tinyParameters } from '../contract.ts'
import type { Backend } from '../engine.ts'
import { type OpenBackend, openBackend, type WasmPaths } from './backend.ts'
import { createTfjsEngine, KERNELS, OPTIMISERS } from './createTfjsEngine.ts'
import { deviceAdamW } from './deviceAdamW.ts'
import { lossAndGradients } from './loss.ts'
import { makeConstants, trainingPass } from './model.ts'
import { toBatch } from './train.ts'

/** The least model there can be: a step of it is launches only. */
const LEAST = { vocabSize: 5, layers: 1, heads: 1, dModel: 4, headDim: 4, hidden: 6, sequenceLength: 2 }

/** Without a GPU a step takes webgpu 220 ms and webgl 30, of wasm’s 2; a thousand passed on all three. */
const STEPS: Record<Backend, number> = { wasm: 1_000, webgl: 200, webgpu: 15 }

/** What the webgpu backend's pool of buffers has taken from the device; it never gives back. */
function poolBytes(): number {
  const { bufferManager } = tf.backend() as unknown as { bufferManager?: { numBytesAllocated: number } }
  return bufferManager?.numBytesAllocated ?? 0
}

const WHOLE = [{ offset: 0, size: parameterCount(TINY) }]

export function tfjsContract(backend: Backend, wasmPaths: WasmPaths): void {
  const kernels = KERNELS[backend]
  describe(`the parts of the TensorFlow.js engine on ${backend}`, () => {
    let open: OpenBackend
    beforeAll(async () => {
      open = await openBackend(backend, wasmPaths)
    })

    test(`tensors and bytes stay the same over ${STEPS[backend]} steps, and dispose frees all`, async () => {
      const before = tf.memory()
      const engine = await createTfjsEngine({ backend, config: LEAST, wasmPaths })
      const memoryAfter = async (steps: number) => {
        const sequences = randomSequences(LEAST, 2 * steps, 'memory')
        const rates = { firstStep: 0, totalSteps: 1_000, peakLearningRate: 1e-3 }
        await engine.train({
          sequences,
          steps,
          batchSize: 2,
          microBatch: backend === 'wasm' ? 1 : 2,
          ...rates,
        })
        await engine.evaluate(sequences.subarray(0, 3 * (LEAST.sequenceLength + 1)))
        const { numTensors, numBytes } = tf.memory()
        return { numTensors, numBytes, pool: poolBytes() }
      }
      engine.setParameters(initialParameters(LEAST, 'memory'))
      // How many small buffers are in use at once depends on where the loss is read, and that on the time.
      const clock = vi.spyOn(performance, 'now').mockReturnValue(0)
      onTestFinished(() => clock.mockRestore())
      const early = await memoryAfter(10)
      expect(await memoryAfter(STEPS[backend])).toEqual(early)
      expect(early.numTensors).toBeGreaterThan(before.numTensors)
      engine.dispose()
      expect(tf.memory()).toMatchObject({ numTensors: before.numTensors, numBytes: before.numBytes })
    })

    test('block states made again in the backward pass give the same gradients', async () => {
      open.use()
      const optimiser = deviceAdamW(parameterLayout(TINY))
      const constants = makeConstants(TINY, kernels)
      optimiser.setParameters(tinyParameters(), WHOLE)
      const norms = async (mostKept: number) => {
        const sums = tf.tidy(() => {
          const batch = toBatch(randomSequences(TINY, 2, 'again'), TINY.sequenceLength)
          const { gradients } = trainingPass(optimiser.tensors(), batch, { ...constants, mostKept })
          return tf.stack(gradients.map((gradient) => tf.sum(tf.mul(gradient, gradient))))
        })
        return Array.from(await sums.data())
      }
      const [kept, again] = [await norms(2 ** 27), await norms(0)]
      expect(kept.every((norm) => norm > 0)).toBe(true)
      again.forEach((norm, i) => {
        expect(norm / (kept[i] ?? 0)).toBeCloseTo(1, 5)
      })
    })

    // Worked by hand. The gradient (3, 4) has norm 5 and is clipped to (0.6, 0.8); the third parameter's is zero, so only
    // decay moves it: 1 − 0.1·0.02. A first Adam step moves by the rate, whatever the gradient's size.
    test('clipping, moments, decoupled decay and the first update, in literal numbers', async () => {
      open.use()
      const layout = [
        { name: 'a', shape: [2], offset: 0, size: 2, layer: 0 },
        { name: 'b', shape: [1], offset: 2, size: 1, layer: 0 },
      ]
      const all = [{ offset: 0, size: 3 }]
      const optimiser = OPTIMISERS[backend](layout)
      optimiser.setParameters(Float32Array.of(2, -1, 1), all)
      const norm = optimiser.step([tf.tensor1d([3, 4]), tf.tensor1d([0])], 0.1, 0.02)
      const near = (got: Float32Array, wanted: number[]) =>
        wanted.forEach((value, i) => {
          expect(got[i]).toBeCloseTo(value, 6)
        })
      near(await norm.data<'float32'>(), [5])
      near(await optimiser.parameters(all), [2 * 0.998 - 0.1, -0.998 - 0.1, 0.998])
      const { firstMoment, secondMoment, updates } = await optimiser.state()
      near(firstMoment, [0.06, 0.08, 0])
      near(secondMoment, [0.0036, 0.0064, 0])
      expect(updates).toBe(1)
      optimiser.dispose()
    })

    // softmax of ln 1, ln 2, ln 5 is 1/8, 2/8, 5/8 and logsumexp is ln 8; the target is the second, one token of four.
    test('cross entropy and z-loss with their gradients, in literal numbers', async () => {
      open.use()
      const embedding = tf.tensor2d([[0], [Math.LN2], [Math.log(5)]])
      const x = tf.tensor2d([[1]])
      const { loss, dx, dEmbedding } = lossAndGradients(kernels, x, embedding, tf.tensor1d([1], 'int32'), 4)
      expect((await loss.data())[0]).toBeCloseTo(Math.log(4) / 4, 6)
      // p·(1 + 2e-4·ln 8) − onehot, over four.
      const slopes = [0.125051986 / 4, -0.749896028 / 4, 0.62525993 / 4]
      for (const [i, value] of (await dEmbedding.data()).entries())
        expect(value).toBeCloseTo(slopes[i] ?? 0, 6)
      expect((await dx.data())[0]).toBeCloseTo(0.121631, 5) // Σ slope·embedding
    })

    test('packed sequences: an end-of-text is predicted, and predicts the next document', async () => {
      open.use()
      const end = 9
      const { inputs, targets } = toBatch(Uint16Array.of(5, 6, end, 7, 8, 1, end, 2, 3, 4), 4)
      expect(Array.from(await inputs.data())).toEqual([5, 6, end, 7, 1, end, 2, 3])
      expect(Array.from(await targets.data())).toEqual([6, end, 7, 8, end, 2, 3, 4])
    })

    // Each is compared with the f64 reference through its engine; here with one another, deviceAdamW on groups that
    // do not fit one flat tensor.
    test('all implementations of AdamW that run here make the same updates', async () => {
      open.use()
      const layout = parameterLayout(TINY)
      const optimisers = [OPTIMISERS[backend](layout), deviceAdamW(layout, 3_000)]
      const results: Float32Array[] = []
      for (const optimiser of optimisers) {
        optimiser.setParameters(tinyParameters(), WHOLE)
        for (const seed of [1, 2, 3]) {
          const gradients = layout.map(({ shape }) => tf.randomNormal([...shape], 0, 0.1, 'float32', seed))
          tf.tidy(() => optimiser.step(gradients, 0.01, 0.1))
        }
        const { firstMoment, secondMoment } = await optimiser.state()
        results.push(await optimiser.parameters(WHOLE), firstMoment, secondMoment)
      }
      for (const i of [0, 1, 2]) {
        results[i]?.forEach((value, j) => {
          expect(Math.abs(value - (results[i + 3]?.[j] ?? Number.NaN))).toBeLessThan(2e-6)
        })
      }
    })
  })
}
