/** IEEE 754 binary16, by bit arithmetic: Math.f16round and Float16Array are too young to rely on. */

const float = new Float32Array(1)
const bits = new Uint32Array(float.buffer)

/** Nearest half to `value`, ties to even; above 65,519.99 it is infinity. Returns the 16 bits. */
export function toHalfBits(value: number): number {
  float[0] = value
  const x = bits[0] as number // a Uint32Array of length 1 has element 0
  const sign = (x >>> 16) & 0x8000
  const magnitude = x & 0x7fffffff
  if (magnitude >= 0x47800000) return sign | (magnitude > 0x7f800000 ? 0x7e00 : 0x7c00) // ≥ 65536, or NaN
  if (magnitude >= 0x38800000) {
    // A normal half. Rounding may carry into the exponent, up to infinity, and that is right.
    const shifted = magnitude - 0x38000000
    return sign | ((shifted + 0x0fff + ((shifted >>> 13) & 1)) >>> 13)
  }
  if (magnitude < 0x33000000) return sign // under half of the smallest subnormal
  // A subnormal half: the mantissa with its hidden bit, shifted to units of 2^-24, ties to even.
  const shift = 126 - (magnitude >>> 23)
  const mantissa = (magnitude & 0x7fffff) | 0x800000
  const half = mantissa >>> shift
  const rest = mantissa & ((1 << shift) - 1)
  const tie = 1 << (shift - 1)
  return sign | (half + (rest > tie || (rest === tie && (half & 1) === 1) ? 1 : 0))
}

/** The value of 16 bits, exactly; infinities and NaN included. */
export function fromHalfBits(half: number): number {
  const sign = half & 0x8000 ? -1 : 1
  const exponent = (half >>> 10) & 0x1f
  const mantissa = half & 0x3ff
  if (exponent === 0) return sign * mantissa * 2 ** -24
  if (exponent === 0x1f) return mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
  return sign * (1024 + mantissa) * 2 ** (exponent - 25)
}

/** The value of each of the 65,536 halves: a table is several times faster than arithmetic. */
export const HALVES = Float32Array.from({ length: 65_536 }, (_, half) => fromHalfBits(half))

/** Little endian on every machine. */
export function writeHalf(bytes: Uint8Array, at: number, half: number): void {
  bytes[at] = half & 0xff
  bytes[at + 1] = half >>> 8
}

/** The 16 bits at bytes[at] and bytes[at + 1], which must be there. */
export function readHalf(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8)
}
