/**
 * What must hold of the TensorFlow.js engine's parts on every backend, as tests: `tfjsContract(backend, paths)`
 * registers them. The engine's visible behaviour is ../contract.ts's; here are memory and the places where a
 * backend would be silently wrong if asked directly (defects*.test.ts show that it still would).
 */
import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, describe, expect, test } from 'vitest'
import { parameterCount, parameterLayout } from '../../model/layout.ts'
import { randomSequences, TINY, tinyParameters } from '../contract.ts'
import type { Backend } from '../engine.ts'
import { attention, attentionBackward } from './attention.ts'
import { type OpenBackend, openBackend, type WasmPaths } from './backend.ts'
import { createTfjsEngine } from './createTfjsEngine.ts'
import { deviceAdamW } from './deviceAdamW.ts'
import { gpuAdamW } from './gpuAdamW.ts'
import { heapAdamW } from './heapAdamW.ts'
import { heapKernels } from './heapKernels.ts'
import type { Heads } from './kernels.ts'
import { crossEntropies } from './loss.ts'
import { makeConstants, trainingPass } from './model.ts'
import { plainKernels } from './plainKernels.ts'
import { toBatch } from './train.ts'

const WHOLE = [{ offset: 0, size: parameterCount(TINY) }]

export function tfjsContract(backend: Backend, wasmPaths: WasmPaths): void {
  const kernels = backend === 'wasm' ? heapKernels : plainKernels
  // Two backends have no such limit; that the chunks are put together rightly is seen on wasm in Node.
  const slow = backend === 'webgl'
  describe(`the parts of the TensorFlow.js engine on ${backend}`, () => {
    let open: OpenBackend
    beforeAll(async () => {
      open = await openBackend(backend, wasmPaths)
    })

    test('tensors and bytes stay the same from step to step, and dispose frees all', async () => {
      const before = tf.memory()
      const engine = await createTfjsEngine({ backend, config: TINY, wasmPaths })
      engine.setParameters(tinyParameters())
      const memoryAfter = async (steps: number) => {
        const sequences = randomSequences(TINY, 2 * steps, 'memory')
        await engine.train({
          sequences,
          steps,
          batchSize: 2,
          firstStep: 0,
          totalSteps: 9,
          peakLearningRate: 0.01,
        })
        await engine.evaluate(sequences)
        const { numTensors, numBytes } = tf.memory()
        return { numTensors, numBytes }
      }
      const once = await memoryAfter(1)
      expect(await memoryAfter(3)).toEqual(once)
      expect(once.numTensors).toBeGreaterThan(before.numTensors)
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

    // 4,110 heads of 16 positions: 65,760 rows, above what one webgpu softmax call gets right.
    test.skipIf(slow)(
      'attention over more than 65,535 rows equals attention over its last heads alone',
      async () => {
        open.use()
        const [count, length, dim] = [4_110, 16, 2]
        const make = (seed: number) =>
          tf.randomNormal<tf.Rank.R3>([count, length, dim], 0, 1, 'float32', seed)
        const all: Heads = [make(1), make(2), make(3)]
        const last = (x: tf.Tensor3D) => tf.slice(x, [count - 2, 0, 0], [2, -1, -1])
        const some: Heads = [last(all[0]), last(all[1]), last(all[2])]
        const mask = tf.zeros<tf.Rank.R3>([1, length, length])
        const run = (heads: Heads) => {
          const { out, probabilities } = attention(kernels, heads, mask)
          // Without a GPU the webgpu backend takes 20 s for this, and the way back has no softmax.
          if (backend === 'webgpu') return [out]
          return [out, attentionBackward(kernels, out, heads, mask, probabilities)[1]]
        }
        const [whole, alone] = [run(all), run(some)]
        for (const [i, x] of whole.entries()) {
          const got = await last(x as tf.Tensor3D).data() // both are [heads, T, D]
          const wanted = (await alone[i]?.data()) ?? []
          got.forEach((value, j) => {
            expect(value).toBeCloseTo(wanted[j] ?? Number.NaN, 5)
          })
        }
      },
    )

    test.skipIf(slow)('losses of more than 65,535 rows equal those of the last rows alone', async () => {
      open.use()
      const count = 65_600
      const x = tf.randomNormal<tf.Rank.R2>([count, 2], 0, 1, 'float32', 4)
      const embedding = tf.randomNormal<tf.Rank.R2>([3, 2], 0, 1, 'float32', 5)
      const targets = tf.tensor1d(
        new Int32Array(count).map((_, i) => i % 3),
        'int32',
      )
      const all = await crossEntropies(kernels, x, embedding, targets).data()
      const from = count - 100
      const few = crossEntropies(kernels, tf.slice(x, from), embedding, tf.slice(targets, from))
      const wanted = await few.data()
      all.slice(from).forEach((value, i) => {
        expect(value).toBeCloseTo(wanted[i] ?? Number.NaN, 5)
      })
    })

    // Each is compared with the f64 reference through its engine; here with one another, deviceAdamW on groups that
    // do not fit one flat tensor.
    test('all implementations of AdamW that run here make the same updates', async () => {
      open.use()
      const layout = parameterLayout(TINY)
      const own = { wasm: heapAdamW, webgpu: gpuAdamW, webgl: deviceAdamW }[backend]
      const optimisers = [own(layout), deviceAdamW(layout, 3_000)]
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
