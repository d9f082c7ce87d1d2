import { expect, it } from 'vitest'
import { bytesToFloats, floatsToBytes, readFloats } from './floats.ts'

it('writes little endian IEEE 754: 1 is 0x3f800000, −2 is 0xc0000000', () => {
  const bytes = Uint8Array.of(0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0)
  expect(floatsToBytes(Float32Array.of(1, -2))).toEqual(bytes)
  expect(bytesToFloats(bytes)).toEqual(Float32Array.of(1, -2))
})

it('reads from any offset and refuses a broken length', () => {
  expect(bytesToFloats(Uint8Array.of(9, 0, 0, 0x80, 0x3f).subarray(1))).toEqual(Float32Array.of(1))
  expect(() => bytesToFloats(new Uint8Array(5))).toThrow(RangeError)
})

it('turns the bytes round where the machine is big endian', () => {
  // Told the wrong order, it must give the other.
  const memory = new Uint8Array(Float32Array.of(1, -2).buffer)
  const turned = Uint8Array.from([3, 2, 1, 0, 7, 6, 5, 4], (i) => memory[i] as number)
  expect(floatsToBytes(Float32Array.of(1, -2), false)).toEqual(turned)
  const values = new Float32Array(2)
  readFloats(turned, values, false)
  expect(values).toEqual(Float32Array.of(1, -2))
})
