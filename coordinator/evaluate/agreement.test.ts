import { beforeAll, describe, expect, it } from 'vitest'
import type { Engine } from '../../shared/engine/engine.ts'
import { referenceLosses } from '../../shared/engine/reference.ts'
import { createTfjsEngine } from '../../shared/engine/tfjs/createTfjsEngine.ts'
import { nodeWasmPaths } from '../../shared/engine/tfjs/nodeWasmPaths.ts'
import { PRESETS } from '../../shared/model/config.ts'
import { initialParameters } from '../../shared/model/initial.ts'
import { agree, tolerance } from './agreement.ts'

const CONFIG = { ...PRESETS.nano, sequenceLength: 32 }
/** Ten times the initial weights: attention, gates and logits are away from their linear beginnings. */
const parameters = initialParameters(CONFIG, 'agreement').map((value) => (value === 1 ? 1 : value * 10))
const sequences = Uint16Array.from({ length: 8 * 33 }, (_, i) => (i * i * 31 + 17 * i) % CONFIG.vocabSize)

describe('agreement', () => {
  let wasm: Engine
  beforeAll(async () => {
    wasm = await createTfjsEngine({ backend: 'wasm', config: CONFIG, wasmPaths: nodeWasmPaths() })
    wasm.setParameters(parameters)
    return () => wasm.dispose()
  }, 60_000)

  it('E8 leaves ten times the difference that f32 and f64 really have', async () => {
    const { nats } = await wasm.evaluate(sequences)
    const exact = referenceLosses(CONFIG, parameters, sequences).reduce((sum, loss) => sum + loss, 0)
    expect(nats).not.toBe(exact)
    expect(Math.abs(nats / exact - 1)).toBeLessThan(tolerance(CONFIG) / 10)
    expect(agree(nats, exact, CONFIG)).toBe(true)
  })

  it('E8 does not take weights for the same that one step of training moved', async () => {
    const before = await wasm.evaluate(sequences)
    const job = { steps: 1, batchSize: 8, firstStep: 100, totalSteps: 1_000, peakLearningRate: 1e-4 }
    await wasm.train({ ...job, sequences })
    const after = await wasm.evaluate(sequences)
    wasm.setParameters(parameters)
    expect(agree(before.nats, after.nats, CONFIG)).toBe(false)
  })

  it('E8 grows with depth, width, context and vocabulary, and stays below the third decimal of a loss', () => {
    expect(tolerance(PRESETS.mini)).toBeGreaterThan(tolerance(PRESETS.micro))
    for (const config of Object.values(PRESETS)) expect(tolerance(config)).toBeLessThan(2e-3)
    expect(4 * tolerance(PRESETS['35m'])).toBeLessThan(2e-3)
  })

  it('is symmetric, and equal sums always agree', () => {
    expect(agree(0, 0, CONFIG)).toBe(true)
    expect(agree(1_000, 1_000.01, CONFIG)).toBe(agree(1_000.01, 1_000, CONFIG))
    expect(agree(1_000, 1_001, CONFIG)).toBe(false)
  })
})
