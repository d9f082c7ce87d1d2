/** What a step of the compiled engine takes of a GPU's memory, before there is a device: its plan says. */
import type { ModelConfig } from '../../model/config.ts'
import { parameterCount } from '../../model/layout.ts'
import { EngineError } from '../engine.ts'
import { gpuChoices } from './choices.ts'
import { CHUNK, packedWords } from './kernels/pack.ts'
import { planThatFits } from './plans.ts'
import { makeState } from './state.ts'
import { memoryOf } from './summary.ts'

/**
 * Bytes at the peak of a step with states in f32, and what contributions keep on the device. Null where no GPU can run it:
 * more than one dispatch takes.
 */
export function compiledPeakBytes(
  config: ModelConfig,
  { microBatch, accumulates }: { readonly microBatch: number; readonly accumulates: boolean },
): number | null {
  try {
    const shape = { state: makeState(config), choices: gpuChoices(), sequences: microBatch }
    return memoryOf(planThatFits(shape, accumulates)).peak + exchangeBytes(config)
  } catch (error) {
    if (error instanceof EngineError) return null
    throw error
  }
}

/** The residual, a chunk of values, and the packed bytes twice: of int8 or f16, whichever a run uses, the larger. */
function exchangeBytes(config: ModelConfig): number {
  const count = parameterCount(config)
  const chunk = Math.min(count, CHUNK)
  return 4 * (count + chunk + packedWords('f16', chunk) + packedWords('f16', count))
}
