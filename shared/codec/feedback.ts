/** Error feedback: what a codec could not carry this round is sent with the next. */
import type { Codec } from './codec.ts'

/** Values decoded at a time, so that no second copy of the model is made: whole blocks of every codec. */
const SLICE = 65_536

/**
 * Encodes x = values + decay·residual, in f32, and leaves in `residual` what the bytes do not carry: x minus what they
 * decode to. `residual` has as many values and is all zeros in the beginning. With decay 1 nothing is ever lost, with 0
 * there is no feedback. @throws CodecError `not-finite`; `residual` is untouched then.
 */
export function encodeWithFeedback(
  codec: Codec,
  values: Float32Array,
  residual: Float32Array,
  decay: number,
): Uint8Array<ArrayBuffer> {
  const wanted = withResidual(values, residual, decay)
  const bytes = codec.encode(wanted)
  subtractDecoded(codec, wanted, bytes, residual)
  return bytes
}

/** For bytes that were made elsewhere from the same values: leaves in `residual` what encodeWithFeedback would have. */
export function leaveResidual(
  codec: Codec,
  values: Float32Array,
  residual: Float32Array,
  decay: number,
  bytes: Uint8Array,
): void {
  subtractDecoded(codec, withResidual(values, residual, decay), bytes, residual)
}

function withResidual(values: Float32Array, residual: Float32Array, decay: number): Float32Array {
  if (residual.length !== values.length) {
    throw new RangeError(`${residual.length} residuals for ${values.length} values.`)
  }
  const wanted = new Float32Array(values.length)
  for (let i = 0; i < wanted.length; i++) {
    wanted[i] = (values[i] as number) + decay * (residual[i] as number) // all have this length
  }
  return wanted
}

/** residual = wanted − decoded */
function subtractDecoded(
  codec: Codec,
  wanted: Float32Array,
  bytes: Uint8Array,
  residual: Float32Array,
): void {
  for (let start = 0; start < wanted.length; start += SLICE) {
    const end = Math.min(start + SLICE, wanted.length)
    const slice = residual.subarray(start, end)
    codec.decodeInto(bytes.subarray(codec.byteLength(start), codec.byteLength(end)), slice)
    for (let i = 0; i < slice.length; i++) {
      slice[i] = (wanted[start + i] as number) - (slice[i] as number) // start + i < end
    }
  }
}
