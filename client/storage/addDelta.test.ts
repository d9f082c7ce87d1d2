import { describe, expect, it } from 'vitest'
import type { Codec } from '../../shared/codec/codec.ts'
import { CodecError } from '../../shared/codec/errors.ts'
import { addDelta } from './addDelta.ts'
import { never } from './fakes.ts'

const BLOCK = 3
const byteLength = (n: number) => n + Math.ceil(n / BLOCK)

/** Each block: its scale in a byte, then a byte a value; a scale of 0 is an error. */
function decodeInto(bytes: Uint8Array, values: Float32Array): void {
  if (bytes.length !== byteLength(values.length)) throw new CodecError('wrong-length', 'toy')
  for (let i = 0; i < values.length; i++) {
    const block = Math.floor(i / BLOCK) * (BLOCK + 1)
    const scale = bytes[block] ?? 0
    if (scale === 0) throw new CodecError('not-finite', 'toy')
    values[i] = scale * (bytes[block + 1 + (i % BLOCK)] ?? 0)
  }
}

const codec = { name: 'f32', blockSize: BLOCK, byteLength, decodeInto } as Partial<Codec> as Codec // complete for whoever only decodes

// 1·(1 2 3), 2·(4 5 6), 10·(7)
const BYTES = Uint8Array.of(1, 1, 2, 3, 2, 4, 5, 6, 10, 7)
const VALUES = Float32Array.of(0.5, 0, 0, 1, 1, 1, 2 ** 24)

describe('a delta', () => {
  it.each([1, 2, 3, 4, 6, 100])('[W1] is added, %d values a slice', async (slice) => {
    const sum = new Float32Array(7)
    await addDelta({ values: VALUES, bytes: BYTES, codec, sum }, never, slice)
    expect([...sum]).toEqual([1.5, 2, 3, 9, 11, 13, 2 ** 24 + 70])
    await addDelta({ values: sum, bytes: BYTES, codec, sum }, never, slice)
    expect([...sum]).toEqual([2.5, 4, 6, 17, 21, 25, 2 ** 24 + 140])
  })

  it('[W2] of a wrong length or with bad bytes is refused', async () => {
    const sum = new Float32Array(7)
    for (const bytes of [BYTES.subarray(1), BYTES.with(8, 0)]) {
      const addition = { values: VALUES, bytes, codec, sum }
      await expect(addDelta(addition, never, 3)).rejects.toThrow(CodecError)
    }
  })

  it('stops between slices', async () => {
    const stopped = new AbortController()
    const sum = new Float32Array(7)
    const adding = addDelta({ values: VALUES, bytes: BYTES, codec, sum }, stopped.signal, 3)
    stopped.abort(new Error('stopped'))
    await expect(adding).rejects.toThrow('stopped')
    expect(sum[3]).toBe(0)
  })
})
