/**
 * What a replica sends of itself: its pseudo-gradient as a codec's bytes, and the residual that those do not carry. An
 * engine on a GPU makes both where its parameters are and hands over the bytes alone (compiled/exchange.ts); for every
 * other one there is `hostExchange`.
 */
import { CODECS, type CodecName } from '../codec/codec.ts'
import { CodecError } from '../codec/errors.ts'
import { encodeWithFeedback } from '../codec/feedback.ts'
import { pseudoGradient } from '../diloco/outer.ts'
import type { ModelConfig } from '../model/config.ts'
import { gathered, type ParameterRange, parameterCount, scatter } from '../model/layout.ts'
import { checkLength, checkRanges } from './checks.ts'
import { EngineError } from './engine.ts'

type Values = Float32Array<ArrayBuffer>

/** What a contribution is made from. */
export interface ContributionRequest {
  readonly codec: CodecName
  readonly fragment: readonly ParameterRange[]
  /** The global weights that the pseudo-gradient is taken against: the fragment's, or the whole model's. */
  readonly base: Float32Array
  /** What of the residual goes with it: 1 is plain error feedback, 0 is none. */
  readonly decay: number
}

export interface Exchange {
  /** Error feedback of a fragment, or of the whole model, in layout order; zeros in a fresh engine. */
  setResidual(values: Float32Array, fragment?: readonly ParameterRange[]): void
  getResidual(fragment?: readonly ParameterRange[]): Promise<Values>
  /**
   * The bytes of x = base − parameters + decay·residual, each operation rounded to f32; the fragment's residual is
   * x minus what they decode to from now on. Between two jobs only.
   * @throws EngineError `engine/not-finite` when x cannot be sent; the fragment's residual is undefined then.
   */
  contribution(request: ContributionRequest): Promise<Uint8Array<ArrayBuffer>>
}

/** On arrays of the host, for an engine whose parameters can be asked for. */
export function hostExchange(
  config: ModelConfig,
  getParameters: (fragment: readonly ParameterRange[]) => Promise<Values>,
): Exchange {
  const count = parameterCount(config)
  const whole = [{ offset: 0, size: count }]
  let kept: Values | null = null
  /** Made when first needed: an engine that only evaluates has no residual. */
  const residual = (): Values => {
    kept ??= new Float32Array(count)
    return kept
  }
  return {
    setResidual(values, fragment = whole) {
      checkLength('residuals', values.length, checkRanges(fragment, count))
      scatter(values, fragment, residual())
    },
    async getResidual(fragment = whole) {
      checkRanges(fragment, count)
      return gathered(residual(), fragment).slice()
    },
    async contribution({ codec, fragment, base, decay }) {
      const part = ofFragment(base, fragment, count)
      const after = gathered(residual(), fragment).slice()
      const bytes = encodeDifference(codec, part, await getParameters(fragment), after, decay)
      scatter(after, fragment, residual())
      return bytes
    },
  }
}

/** Of values of a fragment or of the whole model, the fragment's. @throws EngineError `engine/bad-job` */
export function ofFragment(
  values: Float32Array,
  fragment: readonly ParameterRange[],
  count: number,
): Float32Array {
  if (values.length === checkRanges(fragment, count)) return values
  checkLength('weights of the base', values.length, count)
  return gathered(values as Values, fragment) // of any buffer: it is only read
}

/**
 * All of one length; `residual` becomes what the bytes do not carry.
 * @throws EngineError `engine/not-finite`; `residual` is untouched then.
 */
export function encodeDifference(
  codec: CodecName,
  base: Float32Array,
  local: Float32Array,
  residual: Float32Array,
  decay: number,
): Uint8Array<ArrayBuffer> {
  const delta = pseudoGradient(base, local)
  return sendable(() => encodeWithFeedback(CODECS[codec], delta, residual, decay))
}

/** @throws EngineError `engine/not-finite` */
export function sendable<T>(encode: () => T): T {
  try {
    return encode()
  } catch (error) {
    if (!(error instanceof CodecError)) throw error
    throw new EngineError('engine/not-finite', `The pseudo-gradient cannot be sent: ${error.message}`)
  }
}
