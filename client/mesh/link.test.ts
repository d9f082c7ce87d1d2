import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { channelPair } from './fakes.ts'
import { ackFrame, crc32, dataFrame, FRAME_BYTES, openFrame, readFrame } from './frames.ts'
import { collector, Link, sourceOf } from './link.ts'

function bytesOf(length: number, seed = 1): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i++) bytes[i] = i * 31 + seed * 7 + (i >> 9)
  return bytes
}

function receiver() {
  const got: { header: unknown; bytes: Uint8Array }[] = []
  const link = new Link({
    accept(header) {
      const { bytes } = header as { bytes: number }
      const { sink, whole } = collector(bytes)
      void whole.then((all) => got.push({ header, bytes: all })).catch(() => undefined)
      return { bytes, sink }
    },
  })
  return { link, got }
}

const none = { accept: () => null }

describe('a frame', () => {
  test('has the CRC-32 of the check string', () => {
    expect(crc32(new TextEncoder().encode('123456789'))).toBe(0xcbf43926)
  })

  test('is read as it was made', () => {
    expect(readFrame(openFrame(7, { a: 1 }))).toEqual({ kind: 'open', message: 7, header: { a: 1 } })
    const payload = bytesOf(1_000)
    expect(readFrame(dataFrame(8, 2 ** 40, payload))).toEqual({
      ...{ kind: 'data', message: 8, offset: 2 ** 40, sound: true, payload },
    })
    expect(readFrame(ackFrame(9, 'damaged', 5))).toEqual({
      kind: 'ack',
      message: 9,
      state: 'damaged',
      taken: 5,
    })
  })

  test('of whatever bytes is a frame or null (T6)', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const frame = readFrame(bytes)
        expect(frame === null || ['open', 'data', 'ack'].includes(frame.kind)).toBe(true)
      }),
      { numRuns: 5_000 },
    )
    expect(readFrame(new Uint8Array(FRAME_BYTES + 1))).toBeNull()
  })
})

describe('a link', () => {
  test('T1 brings messages of all sizes, T2 several at once', async () => {
    const [a, b] = channelPair()
    const { link, got } = receiver()
    link.attach(b)
    const sender = new Link(none)
    sender.attach(a)
    const sizes = [0, 1, 65_519, 65_520, 1_000_000, 6_000_000]
    await Promise.all(sizes.map((bytes, i) => sender.send({ bytes, i }, sourceOf(bytesOf(bytes, i)))))
    expect(got).toHaveLength(sizes.length)
    for (const { header, bytes } of got) {
      const { i } = header as { i: number }
      expect(Buffer.compare(bytes, bytesOf(sizes[i] ?? 0, i))).toBe(0)
    }
    expect(got.map(({ header }) => (header as { bytes: number }).bytes).at(-1)).toBe(6_000_000) // the small ones went by
  })

  test('T3 reads no further ahead than its window, and waits for a slow sink', async () => {
    const [a, b] = channelPair()
    let taken = 0
    let ahead = 0
    const link = new Link({
      accept: () => ({
        bytes: 30_000_000,
        sink: {
          async write(piece) {
            await Promise.resolve()
            taken += piece.length
          },
          end() {},
          fail() {},
        },
      }),
    })
    link.attach(b)
    const sender = new Link(none)
    sender.attach(a)
    const piece = new Uint8Array(FRAME_BYTES)
    await sender.send(
      {},
      {
        bytes: 30_000_000,
        read(offset, length) {
          ahead = Math.max(ahead, offset + length - taken)
          return piece.subarray(0, length)
        },
      },
    )
    expect(taken).toBe(30_000_000)
    expect(ahead).toBeLessThan(6_000_000)
  })

  test('T4 sends damaged frames again', async () => {
    let count = 0
    const [a, b] = channelPair((frame) => {
      if (frame[0] === 2 && ++count % 5 === 0) frame[frame.length - 1] = (frame.at(-1) ?? 0) ^ 1
      return frame
    })
    const { link, got } = receiver()
    link.attach(b)
    const sender = new Link(none)
    sender.attach(a)
    const bytes = bytesOf(2_000_000)
    await sender.send({ bytes: bytes.length }, sourceOf(bytes))
    expect(Buffer.compare(got[0]?.bytes ?? new Uint8Array(), bytes)).toBe(0)
    expect(count).toBeGreaterThan(31)
  })

  test('T4 hears of damage wherever in a frame it is, and T1 fails what it cannot mend', async () => {
    let count = 0
    const [a, b] = channelPair((frame) => {
      if (frame[0] === 2 && ++count % 5 === 0) {
        const at = 1 + ((count / 5) % 16) // number, offset, CRC
        frame[at] = (frame[at] ?? 0) ^ 1
      }
      return frame
    })
    const { link, got } = receiver()
    link.attach(b)
    const sender = new Link(none)
    sender.attach(a)
    const sizes = [65_519, 3_000_000, 1_000_000]
    await Promise.all(sizes.map((bytes, i) => sender.send({ bytes, i }, sourceOf(bytesOf(bytes, i)))))
    for (const { header, bytes } of got) {
      const { i } = header as { i: number }
      expect(Buffer.compare(bytes, bytesOf(sizes[i] ?? 0, i))).toBe(0)
    }
    expect(got).toHaveLength(3)
    expect(count).toBeGreaterThan(64)
  })

  test('T1 hears that a message whose opening was damaged does not arrive', async () => {
    let opened = 0
    const [a, b] = channelPair((frame) => {
      if (frame[0] === 1 && ++opened === 1) frame[4] = 77 // another number
      return frame
    })
    const { link } = receiver()
    link.attach(b)
    const sender = new Link(none)
    sender.attach(a)
    await expect(sender.send({ bytes: 100_000 }, sourceOf(bytesOf(100_000)))).rejects.toThrow(
      'does not want it',
    )
    await sender.send({ bytes: 10 }, sourceOf(bytesOf(10)))
  })

  test.each([1, 2, 7, 20, 33, 34])(
    'T5 goes on over a new channel when frame %i cuts the old one',
    async (at) => {
      const { link, got } = receiver()
      const sender = new Link(none)
      let count = 0
      const first = channelPair((frame) => (++count === at ? 'cut' : frame))
      link.attach(first[1])
      sender.attach(first[0])
      const bytes = bytesOf(1_500_000)
      const sent = sender.send({ bytes: bytes.length }, sourceOf(bytes))
      await new Promise((resolve) => setTimeout(resolve, 5))
      const next = channelPair()
      link.attach(next[1])
      sender.attach(next[0])
      await sent
      expect(got).toHaveLength(1)
      expect(Buffer.compare(got[0]?.bytes ?? new Uint8Array(), bytes)).toBe(0)
    },
  )

  test('T1 whatever is damaged and however often it is cut, messages arrive whole and once, both ways', async () => {
    const faults = fc.array(fc.constantFrom('none', 'none', 'none', 'none', 'damage', 'damage', 'cut'), {
      maxLength: 60,
    })
    const sizes = fc.array(fc.constantFrom(0, 1, 70_000, 200_000, 300_000), { minLength: 1, maxLength: 3 })
    await fc.assert(
      fc.asyncProperty(faults, sizes, sizes, async (happens, there, back) => {
        const ends = [receiver(), receiver()] as const
        let count = 0
        const fault = (frame: Uint8Array<ArrayBuffer>) => {
          const what = happens[count++]
          if (what === 'cut') return 'cut'
          if (what !== 'damage' || frame[0] !== 2) return frame
          const at = 1 + ((count * 7_919) % (frame.length - 1))
          frame[at] = (frame[at] ?? 0) ^ 1
          return frame
        }
        const connect = () => {
          const [a, b] = channelPair(fault)
          // As a group does; the two ends need not hear of it at once.
          a.onClose(() => setTimeout(connect))
          ends[1].link.attach(b)
          ends[0].link.attach(a)
        }
        connect()
        const send = (from: 0 | 1, all: readonly number[]) =>
          all.map((bytes, i) => ends[from].link.send({ bytes, i }, sourceOf(bytesOf(bytes, i))))
        await Promise.all([...send(0, there), ...send(1, back)])
        for (const [to, all] of [back, there].entries()) {
          const { got } = ends[to as 0 | 1]
          expect(got).toHaveLength(all.length)
          for (const { header, bytes } of got) {
            const { i } = header as { i: number }
            expect(Buffer.compare(bytes, bytesOf(all[i] ?? 0, i))).toBe(0)
          }
        }
        for (const { link } of ends) link.close('over')
      }),
      { numRuns: 30 },
    )
  })

  test('T5 fails what it has when it is closed', async () => {
    const [a] = channelPair()
    const sender = new Link(none)
    sender.attach(a)
    const sent = sender.send({}, sourceOf(bytesOf(10)))
    sender.close('enough')
    await expect(sent).rejects.toThrow('enough')
    await expect(sender.send({}, sourceOf(bytesOf(1)))).rejects.toThrow('enough')
  })

  test('T6 what is not wanted is not sent, and what is no frame ends the channel', async () => {
    const [a, b] = channelPair()
    const link = new Link(none)
    link.attach(b)
    const sender = new Link(none)
    sender.attach(a)
    await expect(sender.send({}, sourceOf(bytesOf(100)))).rejects.toThrow('does not want it')
    await a.write(Uint8Array.of(9, 9, 9, 9, 9, 9))
    expect(link.open).toBe(false)
  })
})
