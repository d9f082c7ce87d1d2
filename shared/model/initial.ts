/** Initial weights: the same seed gives the same bits on every machine. */
import type { ModelConfig } from './config.ts'
import { initialOf, parameterCount, parameterLayout } from './layout.ts'
import { randomFrom } from './random.ts'

const STANDARD_DEVIATION = 0.02

/**
 * Flat parameters in layout order: gains 1, matrices normal with deviation 0.02, residual outputs divided by
 * √(2·layers). Normals are sums of twelve uniforms less six (Irwin-Hall), because Math.log and Math.cos may
 * differ in the last bit between browsers and the sum does not.
 */
export function initialParameters(config: ModelConfig, seed: string): Float32Array<ArrayBuffer> {
  const values = new Float32Array(parameterCount(config))
  for (const entry of parameterLayout(config)) {
    const end = entry.offset + entry.size
    const kind = initialOf(entry)
    if (kind === 'ones') {
      values.fill(1, entry.offset, end)
      continue
    }
    const uniform = randomFrom(`${seed}/${entry.name}`)
    const deviation =
      kind === 'residual' ? STANDARD_DEVIATION / Math.sqrt(2 * config.layers) : STANDARD_DEVIATION
    for (let i = entry.offset; i < end; i++) {
      let sum = -6
      for (let k = 0; k < 12; k++) sum += uniform()
      values[i] = deviation * sum
    }
  }
  return values
}
