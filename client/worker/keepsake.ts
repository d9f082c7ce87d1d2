/**
 * What the page keeps of a replica, enough to make it again in a new Worker: its parameters and moments as last
 * set or seen, what its pseudo-gradient is taken against, and where its last contribution was made. At most twenty
 * bytes a parameter: arrays are not copied, and several may be one.
 */
import type { OptimiserState } from '../../shared/engine/engine.ts'
import type { ModelConfig } from '../../shared/model/config.ts'
import { type ParameterRange, parameterCount, scatter } from '../../shared/model/layout.ts'
import type { RemoteEngine, Values } from './engineClient.ts'

export class Keepsake {
  readonly #config: ModelConfig
  /** Null: as in a fresh engine. */
  #parameters: Values | null = null
  #base: Values | null = null
  #mark: Values | null = null
  #optimiser: OptimiserState | null = null

  constructor(config: ModelConfig) {
    this.#config = config
  }

  get optimiser(): OptimiserState | null {
    return this.#optimiser
  }

  /** A whole model is base and mark too. */
  setParameters(values: Values, fragment?: readonly ParameterRange[]): void {
    if (fragment === undefined) this.#base = this.#mark = this.#parameters = values
    else this.#parameters = withFragment(this.#parameters, values, fragment, this.#config)
  }

  setBase(values: Values): void {
    this.#base = values
  }

  setMark(values: Values): void {
    this.#mark = values
  }

  /** The mark is where the parameters are. */
  markHere(): void {
    this.#mark = this.#parameters
  }

  carryOver(global: Values, moved: Values, fragment: readonly ParameterRange[]): void {
    this.#base = withFragment(this.#base, global, fragment, this.#config)
    this.#parameters = withFragment(this.#parameters, moved, fragment, this.#config)
  }

  setOptimiserState(state: OptimiserState): void {
    this.#optimiser = state
  }

  /** The replica somewhere in its training; the base stays. */
  setReplica(parameters: Values, optimiser: OptimiserState): void {
    this.#parameters = parameters
    this.#optimiser = optimiser
  }

  /** @throws what the engine throws */
  async restore(engine: RemoteEngine): Promise<void> {
    if (this.#parameters !== null) await engine.setParameters(this.#parameters)
    if (this.#base !== null) await engine.setBase(this.#base)
    if (this.#mark !== null) await engine.setMark(this.#mark)
    if (this.#optimiser !== null) await engine.setOptimiserState(this.#optimiser)
  }
}

/** A new array: the old one may be the base. */
function withFragment(
  parameters: Values | null,
  values: Values,
  fragment: readonly ParameterRange[],
  config: ModelConfig,
): Values {
  const whole = parameters?.slice() ?? new Float32Array(parameterCount(config))
  scatter(values, fragment, whole)
  return whole
}
