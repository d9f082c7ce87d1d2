/** How much arithmetic a token of training is, for benchmarks. */
import type { ModelConfig } from './config.ts'
import { parameterCount } from './layout.ts'

/**
 * Floating-point operations of forward and backward for one token: 6 for every parameter, and 12·L·d·T for the
 * attention scores and their use, the whole T×T of them (the convention of PaLM, arXiv 2204.02311, appendix B).
 * Recomputed blocks are not counted: they are the implementation's choice.
 */
export function flopsPerToken(config: ModelConfig): number {
  return 6 * parameterCount(config) + 12 * config.layers * config.dModel * config.sequenceLength
}
