import { afterAll, expect, test, vi } from 'vitest'
import { PRESETS } from '../../model/config.ts'
import { parameterCount } from '../../model/layout.ts'
import { randomSequences } from '../contract.ts'
import { openDevice } from '../gpuDevice.ts'
import { type Dawn, installDawn, NO_DAWN } from '../tfjs/dawn.ts'
import { type Choices, gpuChoices } from './choices.ts'
import { createCompiledEngine } from './createCompiledEngine.ts'
import { compiledPeakBytes } from './predict.ts'

const dawn: Dawn | null = await installDawn()
afterAll(() => dawn?.close())

test('a step and a contribution take what was predicted for them', async ({ skip }) => {
  if (dawn === null) return skip(NO_DAWN)
  const config = PRESETS.nano
  const open = await openDevice() // the same that the engine gets
  const createBuffer = open.device.createBuffer.bind(open.device)
  let [live, peak] = [0, 0]
  vi.spyOn(open.device, 'createBuffer').mockImplementation((descriptor) => {
    const buffer = createBuffer(descriptor)
    live += descriptor.size
    peak = Math.max(peak, live)
    const destroy = buffer.destroy.bind(buffer)
    buffer.destroy = () => {
      live -= descriptor.size
      destroy()
    }
    return buffer
  })
  // Tiles decide nothing of the memory; these a software GPU compiles in time.
  const tile: Choices['tile'] = () => ({ way: 'shared', rows: 4, columns: 4, across: 2, down: 2, depth: 8 })
  const engine = await createCompiledEngine({ config, choices: { ...gpuChoices(), tile, threadsPerRow: 4 } })
  const before = live // the self-test has cleaned up
  const job = { steps: 1, batchSize: 4, microBatch: 2, firstStep: 0, totalSteps: 10, peakLearningRate: 1e-3 }
  await engine.train({ ...job, sequences: randomSequences(config, 4, 'predicted') })
  const whole = [{ offset: 0, size: parameterCount(config) }]
  const base = new Float32Array(parameterCount(config))
  await engine.contribution({ codec: 'f16', fragment: whole, base, decay: 1 })
  const predicted = compiledPeakBytes(config, { microBatch: 2, accumulates: true }) ?? 0
  expect(before).toBeGreaterThan(16 * parameterCount(config))
  expect(live / predicted).toBeGreaterThan(0.97)
  expect(live / predicted).toBeLessThan(1.03)
  engine.dispose()
  await expect.poll(() => live).toBe(0)
  open.release()
})
