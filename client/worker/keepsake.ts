/**
 * What the page keeps of a replica, enough to make it again in a new Worker: its parameters, moments and residual as last
 * set or seen, what its pseudo-gradient is taken against, and where its last contribution was made. At most 24 bytes
 * a parameter: arrays are not copied, and several may be one.
 */
import { CODECS } from '../../shared/codec/codec.ts'
import { leaveResidual } from '../../shared/codec/feedback.ts'
import { pseudoGradient } from '../../shared/diloco/outer.ts'
import type { OptimiserState } from '../../shared/engine/engine.ts'
import type { ModelConfig } from '../../shared/model/config.ts'
import { gathered, type ParameterRange, parameterCount, scatter } from '../../shared/model/layout.ts'
import type { ContributionRequest, RemoteEngine, Values } from './engineClient.ts'

export class Keepsake {
  readonly #config: ModelConfig
  /** Null: as in a fresh engine. */
  #parameters: Values | null = null
  #base: Values | null = null
  #mark: Values | null = null
  #optimiser: OptimiserState | null = null
  #residual: Values | null = null
  /** The contribution made since the residual was last seen. */
  #unseen: Unseen | null = null

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

  setResidual(values: Values, fragment?: readonly ParameterRange[]): void {
    if (fragment === undefined) this.#residual = values
    else this.#residual = withFragment(this.#residual, values, fragment, this.#config)
    if (fragment === undefined || sameRanges(fragment, this.#unseen?.request.fragment)) this.#unseen = null
  }

  /** The mark is where the parameters are. */
  contributed(request: ContributionRequest, bytes: Uint8Array): void {
    this.#see()
    this.#mark = this.#parameters
    if (this.#base && this.#mark) this.#unseen = { request, bytes, base: this.#base, mark: this.#mark }
  }

  /** Zeros in a fresh engine. */
  markOf(fragment: readonly ParameterRange[]): Values {
    return gathered(this.#mark ?? new Float32Array(parameterCount(this.#config)), fragment)
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

  /** Makes the residual again from what its contribution was made from. */
  #see(): void {
    if (this.#unseen === null) return
    const { request, bytes, base, mark } = this.#unseen
    const { codec, fragment, decay } = request
    const delta = pseudoGradient(gathered(base, fragment), gathered(mark, fragment))
    const before = this.#residual ?? new Float32Array(parameterCount(this.#config))
    const part = gathered(before, fragment).slice()
    leaveResidual(CODECS[codec], delta, part, decay, bytes)
    this.setResidual(part, fragment)
  }

  /** @throws what the engine throws */
  async restore(engine: RemoteEngine): Promise<void> {
    if (this.#parameters !== null) await engine.setParameters(this.#parameters)
    if (this.#base !== null) await engine.setBase(this.#base)
    this.#see()
    if (this.#residual !== null) await engine.setResidual(this.#residual)
    if (this.#optimiser !== null) await engine.setOptimiserState(this.#optimiser)
  }
}

interface Unseen {
  readonly request: ContributionRequest
  readonly bytes: Uint8Array
  /** As they were then. */
  readonly base: Values
  readonly mark: Values
}

const sameRanges = (a: readonly ParameterRange[], b: readonly ParameterRange[] | undefined) =>
  JSON.stringify(a) === JSON.stringify(b)

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
