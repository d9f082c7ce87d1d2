/** peakBytes.ts on wasm, and the largest model this suite trains. WebGPU has its turn in peakBytes.browser.test.ts. */
import { beforeAll, expect, test } from 'vitest'
import { PRESETS } from '../../model/config.ts'
import { initialParameters } from '../../model/initial.ts'
import { randomSequences } from '../contract.ts'
import { openBackend } from './backend.ts'
import { createTfjsEngine } from './createTfjsEngine.ts'
import { nodeWasmPaths } from './nodeWasmPaths.ts'
import { predictPeakBytes } from './peakBytes.ts'
import { measurePeak } from './peakBytesCases.ts'

beforeAll(async () => {
  await openBackend('wasm', nodeWasmPaths())
})

test.each([
  ['nano', PRESETS.nano, 8, 8],
  ['nano by twos', PRESETS.nano, 8, 2],
  ['many sequences', PRESETS.nano, 48, 48],
  ['a long sequence', { ...PRESETS.nano, sequenceLength: 1_024 }, 1, 1],
  ['a large vocabulary', { ...PRESETS.nano, vocabSize: 32_768 }, 2, 2],
  ['a large vocabulary in chunks of rows', { ...PRESETS.nano, vocabSize: 32_768 }, 12, 12],
  ['micro one by one', PRESETS.micro, 2, 1],
  ['states made again', { ...PRESETS.nano, layers: 6 }, 8, 8, true],
  ['states made again, a long sequence', { ...PRESETS.nano, sequenceLength: 512 }, 2, 2, true],
])(
  '%s: the prediction is within 15 %% of what tensors and moments take',
  async (_, config, batchSize, microBatch, recomputesBlocks = false) => {
    const shape = {
      backend: 'wasm',
      microBatch,
      accumulates: microBatch < batchSize,
      recomputesBlocks,
    } as const
    const measured = await measurePeak(config, batchSize, shape, nodeWasmPaths())
    expect(Math.abs(predictPeakBytes(config, shape) / measured - 1)).toBeLessThan(0.15)
  },
)

/** 2,048, the preset's own, takes half a minute and more: `TEST_LARGE=1 npx vitest run peakBytes`. */
const LENGTH = process.env.TEST_LARGE ? PRESETS['35m'].sequenceLength : 64

// 35.7 million parameters, 32,768 ids: well under 8 GiB.
test(`35m takes a real step at sequence length ${LENGTH} in less than 8 GiB, as predicted`, async () => {
  const config = { ...PRESETS['35m'], sequenceLength: LENGTH }
  const engine = await createTfjsEngine({ backend: 'wasm', config, wasmPaths: nodeWasmPaths() })
  engine.setParameters(initialParameters(config, '35m'))
  const sequences = randomSequences(config, 1, '35m')
  const job = { sequences, steps: 1, batchSize: 1, firstStep: 100, totalSteps: 1_000, peakLearningRate: 1e-3 }
  const { meanLoss } = await engine.train(job)
  // Random ids are as likely as not: ln 32,768 = 10.397, and a little more for the spread of untrained logits.
  expect(meanLoss).toBeGreaterThan(10.3)
  expect(meanLoss).toBeLessThan(10.7)
  const { nats, tokens } = await engine.evaluate(sequences)
  expect(nats / tokens).toBeLessThan(meanLoss)
  const predicted = predictPeakBytes(config, { backend: 'wasm', microBatch: 1, accumulates: false })
  const processBytes = 1_024 * process.resourceUsage().maxRSS
  expect(predicted).toBeLessThan(processBytes)
  expect(processBytes).toBeLessThan(8 * 2 ** 30)
  engine.dispose()
}, 300_000)
