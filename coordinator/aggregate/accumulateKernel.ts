/**
 * Dequantise and add, in WebAssembly with SIMD, for int8 and int4: sum[i] += weight · decode(bytes)[i], contribution
 * after contribution, in f64. The definition is `accumulate(sum, CODECS[codec].decode(bytes), weight)`; this gives the
 * same bits, several times faster.
 *
 * A decoded value is q·(largest/divisor) rounded to f32. The kernel has no division: it splits largest/divisor into
 * `high`, its first 17 bits, and `low`, the rest as f32. q·high is exact in f32 (7 + 17 bits), and q·high + q·low differs
 * from the quotient by at most 2^-40 of it before its one rounding. q·largest has at most 18 bits, so the quotient is either
 * an f32 itself or at least 2^-33 of it away from where rounding turns (kernels.test.ts tries every f16 and every q).
 */
import { fromHalfBits } from '../../shared/codec/half.ts'

export type KernelCodec = 'int8' | 'int4'

export const KERNELS = {
  int8: { blockBytes: 258, divisor: 127, unit: 1 },
  // A nibble is left in the upper half of its byte, so the kernel's q is 16 times the codec's.
  int4: { blockBytes: 130, divisor: 7, unit: 16 },
} as const satisfies Record<KernelCodec, { blockBytes: number; divisor: number; unit: number }>

/** Values of a block, in both codecs. */
export const KERNEL_BLOCK = 256

/**
 * Adds `count` contributions to the sums of `blocks` blocks. All are byte addresses in the kernel's memory, or bytes:
 * contribution c's blocks begin at data + c·dataStride, its scales (two f32 a block: high, low) at scales +
 * c·scaleStride, its weight is the f64 at weights + 8·c.
 */
export type Accumulate = (
  sum: number,
  blocks: number,
  count: number,
  data: number,
  dataStride: number,
  scales: number,
  scaleStride: number,
  weights: number,
) => void

/** `high` and `low` of every f16 with this codec's divisor; NaN for what is no finite number. */
export function scaleTable(codec: KernelCodec): Float32Array {
  const { divisor, unit } = KERNELS[codec]
  const table = new Float32Array(2 * 65_536)
  const float = new Float32Array(1)
  const bits = new Uint32Array(float.buffer)
  for (let half = 0; half < 65_536; half++) {
    const scale = fromHalfBits(half) / divisor
    float[0] = scale
    bits[0] = (bits[0] as number) & ~0x7f // cuts 24 bits to 17
    const high = float[0] as number
    table[2 * half] = high / unit
    table[2 * half + 1] = (scale - high) / unit
  }
  return table
}

/** Two sums from two of four decoded values `x`. */
const addTwo = (sum: number, x: string) => `
  (local.set $s${sum} (f64x2.add (local.get $s${sum})
    (f64x2.mul (local.get $weight) (f64x2.promote_low_f32x4 ${x}))))`

const UPPER = 'i8x16.shuffle 8 9 10 11 12 13 14 15 8 9 10 11 12 13 14 15'

/** Four sums from the i32x4 that `q` leaves. */
const addFour = (sum: number, q: string) => `
  (local.set $x (f32x4.convert_i32x4_s ${q}))
  (local.set $x (f32x4.add
    (f32x4.mul (local.get $x) (local.get $high))
    (f32x4.mul (local.get $x) (local.get $low))))
  ${addTwo(sum, '(local.get $x)')}
  ${addTwo(sum + 1, `(${UPPER} (local.get $x) (local.get $x))`)}`

/** Eight sums from the low or high eight of the sixteen bytes in $q. */
const addEight = (sum: number, half: 'low' | 'high') => `
  (local.set $words (i16x8.extend_${half}_i8x16_s (local.get $q)))
  ${addFour(sum, '(i32x4.extend_low_i16x8_s (local.get $words))')}
  ${addFour(sum + 2, '(i32x4.extend_high_i16x8_s (local.get $words))')}`

/** Sixteen values as bytes in $q, from $at. int4 comes two to a byte, the low nibble first. */
const LOAD = {
  int8: '(local.set $q (v128.load (local.get $at)))',
  int4: `
  (local.set $x (v128.load64_zero (local.get $at)))
  (local.set $q (v128.and
    (i8x16.shuffle 0 16 1 17 2 18 3 19 4 20 5 21 6 22 7 23
      (i16x8.shl (local.get $x) (i32.const 4)) (local.get $x))
    (i8x16.splat (i32.const 0xf0))))`,
} as const satisfies Record<KernelCodec, string>

const EIGHT = [0, 1, 2, 3, 4, 5, 6, 7]

/** Sixteen sums stay in registers while all contributions pass by. */
export const accumulateWat = (codec: KernelCodec) => `
(func (export "${codec}")
  (param $sum i32) (param $blocks i32) (param $count i32)
  (param $data i32) (param $dataStride i32)
  (param $scales i32) (param $scaleStride i32) (param $weights i32)
  (local $sixteen i32) (local $left i32) (local $at i32) (local $scale i32) (local $weightAt i32) (local $byte i32)
  (local $q v128) (local $words v128) (local $x v128)
  (local $high v128) (local $low v128) (local $weight v128)
  ${EIGHT.map((n) => `(local $s${n} v128)`).join(' ')}
  (if (i32.eqz (local.get $count)) (then (return)))
  (loop $block
    (local.set $sixteen (i32.const 16))
    (local.set $byte (i32.add (local.get $data) (i32.const 2))) ;; after the block's f16
    (loop $values
      ${EIGHT.map((n) => `(local.set $s${n} (v128.load offset=${16 * n} (local.get $sum)))`).join('\n')}
      (local.set $at (local.get $byte))
      (local.set $scale (local.get $scales))
      (local.set $weightAt (local.get $weights))
      (local.set $left (local.get $count))
      (loop $contribution
        (local.set $high (v128.load32_splat (local.get $scale)))
        (local.set $low (v128.load32_splat offset=4 (local.get $scale)))
        (local.set $weight (v128.load64_splat (local.get $weightAt)))
        ${LOAD[codec]}
        ${addEight(0, 'low')}
        ${addEight(4, 'high')}
        (local.set $at (i32.add (local.get $at) (local.get $dataStride)))
        (local.set $scale (i32.add (local.get $scale) (local.get $scaleStride)))
        (local.set $weightAt (i32.add (local.get $weightAt) (i32.const 8)))
        (br_if $contribution (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
      ${EIGHT.map((n) => `(v128.store offset=${16 * n} (local.get $sum) (local.get $s${n}))`).join('\n')}
      (local.set $sum (i32.add (local.get $sum) (i32.const 128)))
      (local.set $byte (i32.add (local.get $byte) (i32.const ${codec === 'int8' ? 16 : 8})))
      (br_if $values (local.tee $sixteen (i32.sub (local.get $sixteen) (i32.const 1)))))
    (local.set $data (i32.add (local.get $data) (i32.const ${KERNELS[codec].blockBytes})))
    (local.set $scales (i32.add (local.get $scales) (i32.const 8)))
    (br_if $block (local.tee $blocks (i32.sub (local.get $blocks) (i32.const 1))))))`
