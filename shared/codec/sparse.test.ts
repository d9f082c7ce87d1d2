import { describe, expect, it } from 'vitest'
import { sparse } from './sparse.ts'
import { randomFrom, valuesOf } from './testing.ts'
import { twoLevels } from './topK.ts'

const code = (name: string) => expect.objectContaining({ code: name })
const valuesAt = (length: number, some: Record<number, number>) =>
  Float32Array.from({ length }, (_, i) => some[i] ?? 0)

describe('sparse', () => {
  it('[C1] has the documented bytes', () => {
    // One of three is kept: upper magnitude 2 = 0x4000, index 1, bits upper and negative.
    expect([...sparse.encode(Float32Array.of(0.5, -2, 1))]).toEqual([0, 0, 0, 0x40, 1, 0, 3])
    // Two of 128: 1 = 0x3c00 and 4 = 0x4400; indices 0x003 and 0x064; the second has both bits.
    const values = valuesAt(128, { 3: 1, 100: -4 })
    const bytes = Uint8Array.of(0, 0x3c, 0, 0x44, 0x03, 0x40, 0x06, 12)
    expect(sparse.encode(values)).toEqual(bytes)
    expect(sparse.decode(bytes, 128)).toEqual(values)
    expect(sparse.byteLength(4096 * 1000 + 3)).toBe(116_007)
  })

  it('[C8] keeps the first of equal magnitudes, whatever their sign', () => {
    const values = Float32Array.from({ length: 130 }, (_, i) => (i % 2 === 0 ? 1 : -1))
    expect(sparse.decode(sparse.encode(values), 130)).toEqual(valuesAt(130, { 0: 1, 1: -1, 2: 1 }))
  })

  it('[C8] keeps exactly the largest, at every size and kind of values', () => {
    for (const kind of ['uniform', 'of every size', 'tiny', 'ascending', 'large']) {
      for (const size of [65, 1000, 4095, 4096]) {
        const values = valuesOf(kind, size, randomFrom(`${kind} ${size}`))
        const order = [...values.keys()].sort(
          (a, b) => Math.abs(values[b] as number) - Math.abs(values[a] as number) || a - b,
        )
        const bytes = sparse.encode(values)
        bytes.fill(0x3c, 0, 4) // both magnitudes are now 1.0586, so nothing that is kept is 0
        const decoded = sparse.decode(bytes, size)
        const kept = [...decoded.keys()].filter((i) => decoded[i] !== 0)
        expect(kept).toEqual(order.slice(0, Math.ceil(size / 64)).sort((a, b) => a - b))
      }
    }
  })

  it('[C8] cuts where the squared error is least', () => {
    // By hand: {1, 1, 1} and {10}, error 0; halves would be {1, 1} and {1, 10}, error 40.5.
    expect(twoLevels(Float64Array.of(1, 1, 1, 10))).toMatchObject({ lowerCount: 3, lower: 1, upper: 10 })
    // {0, 2, 3} and {9}: error 4.7; {0} and {2, 3, 9}: 28.7; {0, 2} and {3, 9}: 20.
    const { lower, upper } = twoLevels(Float64Array.of(0, 2, 3, 9))
    expect([lower, upper]).toEqual([5 / 3, 9])
  })

  it('[C8] has less error than the means of two halves', () => {
    const values = valuesOf('of every size', 4096, randomFrom('halves'))
    const decoded = sparse.decode(sparse.encode(values), 4096)
    const kept = [...values.keys()]
      .filter((i) => decoded[i] !== 0)
      .sort((a, b) => Math.abs(values[a] as number) - Math.abs(values[b] as number))
    const size = (i: number) => Math.abs(values[i] as number)
    const mean = (list: number[]) => list.reduce((sum, i) => sum + size(i), 0) / list.length
    const [low, high] = [mean(kept.slice(0, 32)), mean(kept.slice(32))]
    const ofHalves = kept.reduce((sum, i, n) => sum + (size(i) - (n < 32 ? low : high)) ** 2, 0)
    const ours = kept.reduce((sum, i) => sum + (size(i) - Math.abs(decoded[i] as number)) ** 2, 0)
    expect(kept).toHaveLength(64)
    expect(ours).toBeLessThan(0.7 * ofHalves)
  })

  it('[C7] refuses indices that do not ascend or lie behind the block, and left-over bits', () => {
    const good = [0, 0x3c, 0, 0x44, 0x03, 0x40, 0x06, 12]
    const withByte = (at: number, byte: number, parameters = 128) =>
      sparse.decode(
        Uint8Array.from(good, (x, i) => (i === at ? byte : x)),
        parameters,
      )
    expect(withByte(4, 0x02)[2]).toBe(1)
    expect(() => withByte(4, 0x64)).toThrow(code('malformed')) // twice index 0x064
    expect(() => withByte(4, 0x65)).toThrow(code('malformed'))
    expect(() => withByte(6, 0x08)).toThrow(code('malformed')) // index 0x084 of 128
    expect(() => withByte(7, 0x10)).toThrow(code('malformed'))
    expect(() => withByte(1, 0x80)).toThrow(code('malformed'))
    expect(() => withByte(3, 0x7c)).toThrow(code('not-finite'))
    expect(() => sparse.decode(Uint8Array.of(0, 0, 0, 0x3c, 1, 0x10, 0), 3)).toThrow(code('malformed'))
    expect(() => sparse.decode(Uint8Array.of(0, 0, 0, 0x3c, 3, 0, 0), 3)).toThrow(code('malformed'))
  })
})
