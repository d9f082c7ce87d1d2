/**
 * What the page keeps of a replica, enough to make it again in a new Worker: its parameters and moments as last
 * set or seen, and what its pseudo-gradient is taken against. Sixteen bytes a parameter. Arrays are not copied.
 */
import type { OptimiserState } from '../../shared/engine/engine.ts'
import type { ModelConfig } from '../../shared/model/config.ts'
import { type ParameterRange, parameterCount } from '../../shared/model/layout.ts'
import type { RemoteEngine } from './engineClient.ts'

export class Keepsake {
  readonly #config: ModelConfig
  /** Null: as in a fresh engine. */
  #parameters: Float32Array | null = null
  #base: Float32Array | null = null
  #optimiser: OptimiserState | null = null

  constructor(config: ModelConfig) {
    this.#config = config
  }

  /** A whole model is the base too. */
  setParameters(values: Float32Array, fragment?: readonly ParameterRange[]): void {
    if (fragment === undefined) this.#base = this.#parameters = values
    else this.#parameters = withFragment(this.#parameters, values, fragment, this.#config)
  }

  setBase(values: Float32Array): void {
    this.#base = values
  }

  setOptimiserState(state: OptimiserState): void {
    this.#optimiser = state
  }

  /** The replica somewhere in its training; the base stays. */
  setReplica(parameters: Float32Array, optimiser: OptimiserState): void {
    this.#parameters = parameters
    this.#optimiser = optimiser
  }

  /** @throws what the engine throws */
  async restore(engine: RemoteEngine): Promise<void> {
    if (this.#parameters !== null) await engine.setParameters(this.#parameters)
    if (this.#base !== null) await engine.setBase(this.#base)
    if (this.#optimiser !== null) await engine.setOptimiserState(this.#optimiser)
  }
}

/** A new array: the old one may be the base. */
function withFragment(
  parameters: Float32Array | null,
  values: Float32Array,
  fragment: readonly ParameterRange[],
  config: ModelConfig,
): Float32Array {
  const whole = parameters?.slice() ?? new Float32Array(parameterCount(config))
  let at = 0
  for (const { offset, size } of fragment) {
    whole.set(values.subarray(at, at + size), offset)
    at += size
  }
  return whole
}
