/**
 * The bytes that are packed on the device against the codecs on the host, where contracts do not reach: edges of blocks,
 * chunks and formats.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CODECS } from '../../codec/codec.ts'
import { parameterCount } from '../../model/layout.ts'
import { randomFrom } from '../../model/random.ts'
import { TINY } from '../contract.ts'
import { type OpenDevice, openDevice } from '../gpuDevice.ts'
import { type Dawn, installDawn, NO_DAWN } from '../tfjs/dawn.ts'
import { cpuChoices } from './choices.ts'
import { deviceExchange } from './exchange.ts'
import { PACKED_CODECS, type PackedCodec } from './kernels/pack.ts'
import { disposeReplica, makeReplica, type Replica } from './replica.ts'

type Values = Float32Array<ArrayBuffer>

const dawn: Dawn | null = await installDawn()
const COUNT = parameterCount(TINY)

/** Magnitudes that differ from block to block, from f16's smallest to its largest; zeros, and equal ones, among them. */
function values(size: number): Values {
  const uniform = randomFrom(`values ${size}`)
  return Float32Array.from({ length: size }, (_, i) => {
    const scale = 10 ** (((Math.floor(i / 256) * 7) % 13) - 8)
    return i % 17 === 0 ? 0 : Math.min(1, 1.1 * uniform()) * scale * (uniform() < 0.5 ? -1 : 1)
  })
}

if (dawn === null) test('contributions made on the device', ({ skip }) => skip(NO_DAWN))
else {
  let open: OpenDevice
  let replica: Replica
  beforeAll(async () => {
    open = await openDevice()
    replica = makeReplica(TINY, open, cpuChoices())
  })
  afterAll(() => {
    disposeReplica(replica)
    open.release()
    dawn.close()
  })

  /** The parameters are zeros, so the base is what is sent. */
  async function send(codec: PackedCodec, base: Values, chunk?: number) {
    const exchange = deviceExchange(replica, chunk)
    try {
      const fragment = [{ offset: 3, size: base.length }]
      const bytes = await exchange.contribution({ codec, fragment, base, decay: 0 })
      return { bytes, left: await exchange.getResidual(fragment) }
    } finally {
      exchange.dispose()
    }
  }

  describe.each(PACKED_CODECS)('%s', (codec) => {
    test.each([1, 2, 255, 256, 257, 511, 512, 513, 7_001])('%i values', async (size) => {
      const wanted = values(size)
      const { bytes, left } = await send(codec, wanted)
      const sent = CODECS[codec].decode(bytes, size)
      const host = CODECS[codec].decode(CODECS[codec].encode(wanted), size)
      const steps = { f16: 0, int8: 127, int4: 7 }[codec]
      let differ = 0
      for (let start = 0; start < size; start += 256) {
        const most = largestOf(wanted.subarray(start, start + 256))
        for (let i = start; i < Math.min(start + 256, size); i++) {
          const apart = Math.abs((sent[i] as number) - (host[i] as number))
          if (apart > 0) {
            differ++
            expect(apart).toBeLessThanOrEqual((1.01 * Math.max(most, 2 ** -24)) / steps)
            // Only a close call: between two steps.
            const middle = Math.abs((2 * Math.abs((wanted[i] as number) - (sent[i] as number))) / apart - 1)
            expect(middle).toBeLessThan(1e-3)
          }
          expect(
            Math.abs((left[i] as number) - ((wanted[i] as number) - (sent[i] as number))),
          ).toBeLessThanOrEqual(1e-6 * most)
        }
      }
      expect(differ).toBeLessThanOrEqual(codec === 'f16' ? 0 : 0.001 * size)
    })

    test('in chunks it is the same bytes', async () => {
      const wanted = values(7_001)
      const whole = await send(codec, wanted)
      expect(await send(codec, wanted, 512)).toEqual(whole)
      expect(await send(codec, wanted, 1_024)).toEqual(whole)
    })

    test('what decodes is encoded to the same again (C5)', async () => {
      const { bytes } = await send(codec, values(COUNT - 3))
      const sent = CODECS[codec].decode(bytes, COUNT - 3)
      const again = CODECS[codec].decode(CODECS[codec].encode(sent), COUNT - 3)
      expect(again).toEqual(sent)
    })

    test.each([65_504, -65_504, 2 ** -24, 2 ** -25, 6.1e-5, 0])('a block of %d', async (value) => {
      const wanted = new Float32Array(300).fill(value)
      const { bytes } = await send(codec, wanted)
      expect(bytes).toEqual(CODECS[codec].encode(wanted))
    })

    test.each([65_505, -65_536, Number.NaN, Number.NEGATIVE_INFINITY])('%d cannot be sent', async (value) => {
      const wanted = values(600).fill(value, 599)
      await expect(send(codec, wanted)).rejects.toMatchObject({ code: 'engine/not-finite' })
    })
  })
}

const largestOf = (all: Float32Array) => all.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
