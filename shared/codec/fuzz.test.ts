/** Bytes that nobody encoded: at random, and encoded ones that were changed. 100,000 in all. */
import { describe, expect, it } from 'vitest'
import { CODEC_NAMES, CODECS, type Codec } from './codec.ts'
import { CodecError } from './errors.ts'
import { KIND_NAMES, randomFrom, type Uniform, valuesOf } from './testing.ts'

const INPUTS = 20_000
const SIZES = [0, 1, 2, 3, 16, 64, 65, 129, 255, 256, 257, 300, 600]

const pick = <T>(list: readonly T[], uniform: Uniform) => list[Math.floor(uniform() * list.length)] as T

function randomBytes(length: number, uniform: Uniform): Uint8Array {
  return Uint8Array.from({ length }, () => Math.floor(256 * uniform()))
}

/** One to eight bytes of a good encoding changed. */
function mutated(encoded: Uint8Array, uniform: Uniform): Uint8Array {
  const bytes = encoded.slice()
  for (let n = 1 + Math.floor(8 * uniform()); n > 0; n--) {
    bytes[Math.floor(uniform() * bytes.length)] = pick(
      [0, 1, 0x7c, 0x7f, 0x80, 0xff, 256 * uniform()],
      uniform,
    )
  }
  return bytes
}

/** The code of the error, or null. Throws when decoding breaks rule C4. */
function outcome(codec: Codec, bytes: Uint8Array, size: number): string | null {
  try {
    const values = codec.decode(bytes, size)
    if (!values.every(Number.isFinite)) throw new Error('A decoded value is not finite.')
    return null
  } catch (error) {
    if (error instanceof CodecError) return error.code
    throw error
  }
}

describe('[C4] [C7] whatever the bytes are, a decoder gives finite numbers or a CodecError', () => {
  it.each(CODEC_NAMES)('%s', (name) => {
    const codec = CODECS[name]
    const uniform = randomFrom(`fuzz ${name}`)
    const good = SIZES.flatMap((size) =>
      KIND_NAMES.map((kind) => ({ size, bytes: codec.encode(valuesOf(kind, size, uniform)) })),
    )
    const outcomes = new Map<string | null, number>()
    for (let n = 0; n < INPUTS; n++) {
      const { size, bytes } = pick(good, uniform)
      const length = uniform() < 0.1 ? Math.floor(40 * uniform()) : bytes.length
      const input = uniform() < 0.3 ? randomBytes(length, uniform) : mutated(bytes, uniform)
      const result = outcome(codec, input, size)
      outcomes.set(result, (outcomes.get(result) ?? 0) + 1)
    }
    // The generator reaches every door.
    const doors = name === 'f32' ? 2 : 3
    expect([...outcomes.keys()].filter((key) => key !== null)).toHaveLength(doors)
    expect(outcomes.get(null)).toBeGreaterThan(INPUTS / 20)
  })
})
