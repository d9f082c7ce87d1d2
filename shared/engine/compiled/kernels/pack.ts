/**
 * Pseudo-gradients as a codec's bytes, made on the device: shared/codec has the formats. A chunk of the fragment's values
 * is gathered in layout order, quantised and packed block by block, and what the bytes do not carry goes back to where it
 * came from.
 *
 * The scale and f16's values are the CPU's to the bit. A step of int8 and int4 comes from a division that a GPU
 * may round otherwise: where value·127/scale is within 1e-4 of the middle between two steps it may be the other one.
 */
import { type Kernel, kernel } from '../kernel.ts'

/** Values in a block of the codecs that are packed here. */
const BLOCK = 256
/** A workgroup packs two blocks: an odd number of half words each, together whole words. */
const PAIR = 2 * BLOCK
/** Values of a chunk: whole pairs, and few enough that neither workgroups nor memory are many. */
export const CHUNK = 2 ** 22

const WIDE = 256
const groupsFor = (size: number) => [Math.ceil(size / WIDE), 1, 1] as const

export const PACKED_CODECS = ['f16', 'int8', 'int4'] as const
export type PackedCodec = (typeof PACKED_CODECS)[number]

/** How a block lies in bytes: two of scale, and so many bits for each value. */
const FORMATS: Record<PackedCodec, { readonly bits: number; readonly most: number }> = {
  f16: { bits: 16, most: 1 },
  int8: { bits: 8, most: 127 },
  int4: { bits: 4, most: 7 },
}

/** Words of a pair of blocks. */
const pairWords = (codec: PackedCodec): number => (2 * (2 + (BLOCK * FORMATS[codec].bits) / 8)) / 4

/** Words that the bytes of so many values take, in whole pairs. */
export const packedWords = (codec: PackedCodec, values: number): number =>
  Math.ceil(values / PAIR) * pairWords(codec)

/** Of one piece of the state: how many values, where they begin there and in the chunk. */
export interface Piece {
  readonly size: number
  readonly stateAt: number
  readonly chunkAt: number
}

/** base, parameters, residual: of the state → chunk[to …] = base − parameters + decay·residual. decay: [1] */
export function gatherDifference({ size, stateAt, chunkAt }: Piece): Kernel {
  return kernel({
    kind: 'pack',
    buffers: {
      base: 'read f32',
      parameters: 'read f32',
      residual: 'read f32',
      decay: 'read f32',
      chunk: 'update f32',
    },
    constants: { size, stateAt, chunkAt },
    threads: [WIDE, 1],
    groups: groupsFor(size),
    flops: 3 * size,
    body: /* wgsl */ `
  let i = group.x * ${WIDE}u + local.x;
  if (i >= sizes.size) { return; }
  let at = sizes.stateAt + i;
  chunk[sizes.chunkAt + i] = (base[at] - parameters[at]) + decay[0] * residual[at];`,
  })
}

/** chunk[to …] → residual, of the state. */
export function scatterResidual({ size, stateAt, chunkAt }: Piece): Kernel {
  return kernel({
    kind: 'pack',
    buffers: { chunk: 'read f32', residual: 'update f32' },
    constants: { size, stateAt, chunkAt },
    threads: [WIDE, 1],
    groups: groupsFor(size),
    body: /* wgsl */ `
  let i = group.x * ${WIDE}u + local.x;
  if (i < sizes.size) { residual[sizes.stateAt + i] = chunk[sizes.chunkAt + i]; }`,
  })
}

/**
 * chunk: `values` of them → packed: packedWords of u32, the codec's bytes, those behind the last value zeros; chunk: what
 * the bytes do not carry. A block that cannot be sent has an infinite scale.
 */
export function pack(codec: PackedCodec, values: number): Kernel {
  const { bits } = FORMATS[codec]
  const blockBytes = 2 + (BLOCK * bits) / 8
  return kernel({
    kind: 'pack',
    buffers: { chunk: 'update f32', packed: 'write u32' },
    constants: { values },
    threads: [WIDE, 1],
    groups: [Math.ceil(values / PAIR), 1, 1],
    flops: 8 * values,
    head: /* wgsl */ `
var<workgroup> largest: array<u32, ${PAIR}>;
var<workgroup> steps: array<u32, ${PAIR}>;
${HALVES}
${STEPS[codec]}
fn byteOf(scales: vec2<u32>, at: u32) -> u32 {
  let block = at / ${blockBytes}u;
  let byte = at % ${blockBytes}u;
  let half = select(scales.x, scales.y, block == 1u);
  if (byte < 2u) { return (half >> (8u * byte)) & 0xffu; }
  let first = block * ${BLOCK}u;
  ${
    {
      f16: 'return (steps[first + (byte - 2u) / 2u] >> (8u * (byte % 2u))) & 0xffu;',
      int8: 'return steps[first + byte - 2u] & 0xffu;',
      int4: `let low = first + 2u * (byte - 2u);
  return (steps[low] & 15u) | ((steps[low + 1u] & 15u) << 4u);`,
    }[codec]
  }
}`,
    body: /* wgsl */ `
  let first = group.x * ${PAIR}u;
  var mine: array<f32, 2>;
  for (var n = 0u; n < 2u; n++) {
    let at = first + n * ${BLOCK}u + local.x;
    var value = 0.0;
    if (at < sizes.values) { value = chunk[at]; }
    mine[n] = value;
    largest[n * ${BLOCK}u + local.x] = bitcast<u32>(value) & 0x7fffffffu;
  }
  workgroupBarrier();
  for (var stride = ${BLOCK / 2}u; stride > 0u; stride /= 2u) {
    if (local.x < stride) {
      largest[local.x] = max(largest[local.x], largest[local.x + stride]);
      largest[${BLOCK}u + local.x] = max(largest[${BLOCK}u + local.x], largest[${BLOCK}u + local.x + stride]);
    }
    workgroupBarrier();
  }
  let above = vec2<u32>(largest[0], largest[${BLOCK}]);
  let scales = vec2<u32>(scaleOf(above.x), scaleOf(above.y));
  for (var n = 0u; n < 2u; n++) {
    let at = first + n * ${BLOCK}u + local.x;
    let step = stepOf(mine[n], above[n], scales[n]);
    steps[n * ${BLOCK}u + local.x] = step;
    if (at < sizes.values) { chunk[at] = mine[n] - valueOf(step, scales[n]); }
  }
  workgroupBarrier();
  for (var word = local.x; word < ${pairWords(codec)}u; word += ${WIDE}u) {
    let at = 4u * word;
    packed[group.x * ${pairWords(codec)}u + word] = byteOf(scales, at) | (byteOf(scales, at + 1u) << 8u)
      | (byteOf(scales, at + 2u) << 16u) | (byteOf(scales, at + 3u) << 24u);
  }`,
  })
}

/** Magnitudes as the bits of an f32: ordered as the magnitudes are, NaN and infinities above all. */
const HALVES = /* wgsl */ `
const MOST_SENDABLE = 0x477fe000u; // 65504
const INFINITE_HALF = 0x7c00u;

fn halfValue(half: u32) -> f32 {
  if (half < 0x400u) { return f32(half) * 5.9604644775390625e-8; }
  return bitcast<f32>((half << 13u) + 0x38000000u);
}

// The smallest half that is not below the magnitude.
fn halfAbove(magnitude: u32) -> u32 {
  if (magnitude >= 0x38800000u) { return (magnitude - 0x38000000u + 0x1fffu) >> 13u; }
  if (magnitude == 0u) { return 0u; }
  let shift = 126u - (magnitude >> 23u);
  if (shift > 24u) { return 1u; }
  return (((magnitude & 0x7fffffu) | 0x800000u) + (1u << shift) - 1u) >> shift;
}`

const steps = (most: number) => /* wgsl */ `
fn scaleOf(magnitude: u32) -> u32 {
  return select(halfAbove(magnitude), INFINITE_HALF, magnitude > MOST_SENDABLE);
}

// As shared/codec/quantise.ts: to nearest, ties to even; a subnormal scale is kept by one step up (C5).
fn stepOf(value: f32, magnitude: u32, half: u32) -> u32 {
  if (half == 0u || half == INFINITE_HALF) { return 0u; }
  let scale = halfValue(half);
  var step = clamp(i32(round(value * (${most}.0 / scale))), ${-most}, ${most});
  if (half < 0x400u && (bitcast<u32>(value) & 0x7fffffffu) == magnitude) {
    let decoded = abs(f32(step)) * (scale / ${most}.0);
    if (decoded != 0.0 && decoded <= halfValue(half - 1u)) { step += select(1, -1, value < 0.0); }
  }
  return bitcast<u32>(step);
}

fn valueOf(step: u32, half: u32) -> f32 {
  return f32(bitcast<i32>(step)) * halfValue(half) / ${most}.0;
}`

const STEPS: Record<PackedCodec, string> = {
  int8: steps(127),
  int4: steps(7),
  f16: /* wgsl */ `
// The power of two at or above the magnitude, from 2^-24 to 2^15.
fn scaleOf(magnitude: u32) -> u32 {
  if (magnitude > MOST_SENDABLE) { return INFINITE_HALF; }
  if (magnitude == 0u) { return 0u; }
  let power = (magnitude + 0x7fffffu) >> 23u; // its biased exponent in an f32
  if (power >= 113u) { return min(power - 112u, 30u) << 10u; }
  return 1u << select(0u, power - 103u, power > 103u);
}

fn inverseOf(half: u32) -> f32 {
  let power = select(103u + firstLeadingBit(half), 112u + (half >> 10u), half >= 0x400u);
  return bitcast<f32>((254u - power) << 23u);
}

fn stepOf(value: f32, magnitude: u32, half: u32) -> u32 {
  if (half == 0u || half == INFINITE_HALF) { return 0u; }
  let x = bitcast<u32>(value * inverseOf(half)); // by a power of two: exact
  let sign = (x >> 16u) & 0x8000u;
  let size = x & 0x7fffffffu;
  if (size >= 0x38800000u) {
    let shifted = size - 0x38000000u;
    return sign | ((shifted + 0x0fffu + ((shifted >> 13u) & 1u)) >> 13u);
  }
  if (size < 0x33000000u) { return sign; }
  let shift = 126u - (size >> 23u);
  let mantissa = (size & 0x7fffffu) | 0x800000u;
  let rounded = mantissa >> shift;
  let rest = mantissa & ((1u << shift) - 1u);
  let tie = 1u << (shift - 1u);
  return sign | (rounded + select(0u, 1u, rest > tie || (rest == tie && (rounded & 1u) == 1u)));
}

fn valueOf(step: u32, half: u32) -> f32 {
  let size = halfValue(step & 0x7fffu) * halfValue(half);
  return select(size, -size, (step & 0x8000u) != 0u);
}`,
}
