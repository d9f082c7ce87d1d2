import * as tf from '@tensorflow/tfjs-core'
import { afterAll, expect, test } from 'vitest'
import { parameterLayout } from '../../model/layout.ts'
import { cpuChoices } from '../compiled/choices.ts'
import { createCompiledEngine } from '../compiled/createCompiledEngine.ts'
import { makeState } from '../compiled/state.ts'
import { randomSequences, TINY, tinyParameters } from '../contract.ts'
import { type Dawn, installDawn, NO_DAWN } from './dawn.ts'
import { tensorsOn } from './onBuffers.ts'

const dawn: Dawn | null = await installDawn()
afterAll(() => dawn?.close())

test('TensorFlow.js computes on the compiled engine’s own parameters, while they change', async ({
  skip,
}) => {
  if (dawn === null) return skip(NO_DAWN)
  const engine = await createCompiledEngine({ config: TINY, choices: cpuChoices() })
  engine.setParameters(tinyParameters())
  const buffers = engine.parameterBuffers()
  const [all] = await tensorsOn(buffers)
  if (!all) throw new Error('TINY fits one buffer')
  const { places } = makeState(TINY)
  const [embedding] = parameterLayout(TINY)
  const sums = () =>
    tf.tidy(() => {
      const flat = tf.slice(all, places[0]?.offset ?? 0, embedding?.size)
      return tf.sum(tf.reshape(flat, [TINY.vocabSize, TINY.dModel]), 1)
    })
  const wanted = (parameters: Float32Array) =>
    Array.from({ length: TINY.vocabSize }, (_, row) =>
      parameters.subarray(row * TINY.dModel, (row + 1) * TINY.dModel).reduce((sum, value) => sum + value, 0),
    )
  const expectSums = async () => {
    const got = await sums().data()
    for (const [row, sum] of wanted(await engine.getParameters()).entries())
      expect(got[row]).toBeCloseTo(sum, 5)
    return got
  }
  const before = await expectSums()
  const job = { steps: 2, batchSize: 2, firstStep: 5, totalSteps: 20, peakLearningRate: 0.01 }
  await engine.train({ ...job, sequences: randomSequences(TINY, 4, 'shared') })
  expect(await expectSums()).not.toEqual(before)
  all.dispose()
  expect(await engine.getParameters()).not.toEqual(tinyParameters()) // the buffer is still there
  engine.dispose()
})
