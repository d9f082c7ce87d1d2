/**
 * How a contribution is cut among a group's members, and how one slice of it is averaged. Both ends use this file, so a
 * mean that the coordinator makes from the members' own bytes has the bits of the mean that a member made.
 */
import { CODECS, type CodecName } from '../codec/codec.ts'
import { CodecError } from '../codec/errors.ts'

/** Values at whose multiples slices begin: whole blocks of every codec. */
const GRAIN = 4_096

export interface Slice {
  /** Index of its first value, and how many it has; 0 where there are fewer grains than slices. */
  readonly first: number
  readonly count: number
  /** Where its bytes begin in the encoded contribution, and how many they are. */
  readonly offset: number
  readonly bytes: number
}

/** The `slices` slices of `parameters` encoded values, in order, together all of them. */
export function slicesOf(parameters: number, slices: number, codec: CodecName): Slice[] {
  const { byteLength } = CODECS[codec]
  const grains = Math.ceil(parameters / GRAIN)
  const bound = (n: number) => Math.min(parameters, Math.floor((grains * n) / slices) * GRAIN)
  return Array.from({ length: slices }, (_, i) => {
    const [first, end] = [bound(i), bound(i + 1)]
    const offset = byteLength(first)
    return { first, count: end - first, offset, bytes: byteLength(end) - offset }
  })
}

export interface Weighed {
  /** Of one slice, encoded. */
  readonly bytes: Uint8Array
  /** Tokens. */
  readonly weight: number
}

/**
 * Σ w·Δ / Σ w of one slice of `count` values, summed in f64 in the given order and encoded again: the same bits from the
 * same bytes in the same order, wherever.
 * @throws CodecError when some bytes are no slice of this codec
 */
export function meanSlice(
  codec: CodecName,
  count: number,
  members: readonly Weighed[],
): Uint8Array<ArrayBuffer> {
  const { byteLength, decodeInto, encode } = CODECS[codec]
  const total = members.reduce((sum, { weight }) => sum + weight, 0)
  const mean = new Uint8Array(byteLength(count))
  for (let first = 0; first < count; first += GRAIN) {
    const values = new Float32Array(Math.min(GRAIN, count - first))
    const sum = new Float64Array(values.length)
    for (const { bytes, weight } of members) {
      decodeInto(bytes.subarray(byteLength(first), byteLength(first + values.length)), values)
      for (let i = 0; i < values.length; i++) sum[i] = (sum[i] as number) + weight * (values[i] as number)
    }
    for (let i = 0; i < values.length; i++) values[i] = (sum[i] as number) / total
    mean.set(encode(values), byteLength(first))
  }
  return mean
}

/** Whether these bytes are a slice of `count` finite values: if not, no mean can have them. */
export function isSlice(codec: CodecName, count: number, bytes: Uint8Array): boolean {
  const { byteLength, decodeInto } = CODECS[codec]
  if (bytes.length !== byteLength(count)) return false
  const values = new Float32Array(Math.min(GRAIN, count))
  try {
    for (let first = 0; first < count; first += GRAIN) {
      const end = Math.min(count, first + GRAIN)
      decodeInto(bytes.subarray(byteLength(first), byteLength(end)), values.subarray(0, end - first))
    }
    return true
  } catch (error) {
    if (error instanceof CodecError) return false
    throw error
  }
}

/** Byte range `index` of `pieces` of a blob, for fetching it once in a group. */
export function pieceOf(bytes: number, pieces: number, index: number): { first: number; end: number } {
  return { first: Math.floor((bytes * index) / pieces), end: Math.floor((bytes * (index + 1)) / pieces) }
}
