/** For tests: the peak of a real job's memory. */
import type { ModelConfig } from '../../model/config.ts'
import { initialParameters } from '../../model/initial.ts'
import { randomSequences } from '../contract.ts'
import type { WasmPaths } from './backend.ts'
import { createTfjsEngine } from './createTfjsEngine.ts'
import { bytesBeside, meterMemory } from './memoryMeter.ts'
import type { StepShape } from './peakBytes.ts'

/** Bytes at the peak of two inner steps; the backend is open already. */
export async function measurePeak(
  config: ModelConfig,
  batchSize: number,
  { backend, microBatch, recomputesBlocks = false }: StepShape,
  wasmPaths: WasmPaths = '',
): Promise<number> {
  const meter = meterMemory(backend)
  const engine = await createTfjsEngine({ backend, config, wasmPaths, recomputesBlocks })
  try {
    engine.setParameters(initialParameters(config, 'peak'))
    const steps = 2
    const sequences = randomSequences(config, steps * batchSize, 'peak')
    await engine.train({
      sequences,
      steps,
      batchSize,
      microBatch,
      firstStep: 0,
      totalSteps: 100,
      peakLearningRate: 1e-3,
    })
    return meter.peak() + (await bytesBeside(engine))
  } finally {
    engine.dispose()
    meter.stop()
  }
}
