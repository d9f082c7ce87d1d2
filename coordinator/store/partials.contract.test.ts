import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LIMITS } from '../../shared/protocol/limits.ts'
import type { Clock } from '../rounds/driver.ts'
import type { BlobStore } from './blobs.ts'
import { openFileBlobStore } from './fileBlobs.ts'
import { openFilePartials, type Partials, type Piece } from './partials.ts'

// SHA-256 of the 56 bytes of this text, from FIPS 180-2, appendix B.2.
const TEXT = 'abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq'
const HASH = '248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1'
const OTHER = createHash('sha256').update('x'.repeat(56)).digest('hex')
const LEASE = 'lease-01'

/** Time stands still until the test moves it. */
function handClock(): Clock & { pass(seconds: number): void } {
  let now = 0
  const timers = new Set<{ time: number; callback: () => void }>()
  return {
    now: () => now,
    at(time, callback) {
      const timer = { time, callback }
      timers.add(timer)
      return () => timers.delete(timer)
    },
    pass(seconds) {
      now += seconds * 1_000
      for (const timer of timers) if (timer.time <= now && timers.delete(timer)) timer.callback()
    },
  }
}

const piece = (more: Partial<Piece> = {}): Piece => ({
  lease: LEASE,
  hash: HASH,
  bytes: 56,
  offset: 0,
  ...more,
})
const from = (offset: number) => piece({ offset })
const whole = (...chunks: string[]) => Readable.from(chunks.map((chunk) => Buffer.from(chunk)))
/** A body that gives these bytes, and then nothing more until told. */
function open(text: string): PassThrough {
  const body = new PassThrough()
  body.write(text)
  return body
}
/** Lets what was sent be taken in. */
const settle = async (test: () => boolean) => {
  while (!test()) await new Promise((resolve) => setImmediate(resolve))
}

describe.each([['files', openFileBlobStore, openFilePartials]])('parts in %s', (_n, openBlobs, openParts) => {
  let directory: string
  let vault: BlobStore
  let parts: Partials
  let clock: ReturnType<typeof handClock>
  const incoming = () => readdirSync(join(directory, 'incoming'))
  const stored = async () => new TextDecoder().decode(await vault.get(HASH))
  const reopen = async () => {
    parts = await openParts(directory, vault, clock, 60)
  }
  /** An upload that breaks off after these bytes. */
  async function brokenAfter(text: string, at = from(0)) {
    const body = open(text)
    const received = parts.receive(body, at)
    await settle(() => parts.committed(at.lease) === at.offset + text.length)
    body.destroy()
    return received
  }

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'potluck-parts-'))
    vault = await openBlobs(directory)
    clock = handClock()
    await reopen()
  })
  afterEach(async () => {
    await parts.close()
    rmSync(directory, { recursive: true, force: true })
  })

  it('store a whole contribution under its hash, and go with its lease (U3, U5)', async () => {
    expect(await parts.receive(whole(TEXT.slice(0, 9), TEXT.slice(9)), from(0))).toEqual({ result: 'stored' })
    expect(await stored()).toBe(TEXT)
    expect(incoming()).toEqual([`${LEASE}.${HASH}.part`])
    expect(parts.committed(LEASE)).toBe(56)
    await parts.keepOnly([])
    expect(incoming()).toEqual([])
    expect(parts.committed(LEASE)).toBe(0)
    expect(await stored()).toBe(TEXT)
  })

  it('that were stored are so again by an empty body, in this process and the next (U5)', async () => {
    await parts.receive(whole(TEXT), from(0))
    expect(await parts.receive(whole(), from(56))).toEqual({ result: 'stored' })
    await reopen()
    expect(parts.committed(LEASE)).toBe(56)
    expect(await parts.receive(whole(), from(56))).toEqual({ result: 'stored' })
    expect(incoming()).toEqual([`${LEASE}.${HASH}.part`])
    expect(await stored()).toBe(TEXT)
  })

  it('that were stored and are damaged since start over once somebody doubts them (U3)', async () => {
    await parts.receive(whole(TEXT), from(0))
    await writeFile(vault.path(HASH), 'x'.repeat(56))
    parts.doubt(LEASE)
    expect(await parts.receive(whole(), from(56))).toEqual({ result: 'hash-mismatch' })
    expect(await parts.receive(whole(TEXT), from(0))).toEqual({ result: 'stored' })
    expect(await stored()).toBe(TEXT)
  })

  it('that were stored cannot be changed any more, only dropped (U2)', async () => {
    await parts.receive(whole(TEXT), from(0))
    await reopen()
    expect(await parts.receive(whole(`${TEXT}x`), from(0))).toEqual({ result: 'wrong-length' })
    expect(await stored()).toBe(TEXT)
  })

  it('go on where a broken connection left them (U1)', async () => {
    expect(await brokenAfter(TEXT.slice(0, 20))).toEqual({ result: 'broken', committed: 20 })
    expect(await brokenAfter(TEXT.slice(20, 31), from(20))).toEqual({ result: 'broken', committed: 31 })
    expect(await parts.receive(whole(TEXT.slice(31)), from(31))).toEqual({ result: 'stored' })
    expect(await stored()).toBe(TEXT)
  })

  it('go on in a new process, which reads the hash from the file (U5)', async () => {
    await brokenAfter(TEXT.slice(0, 20))
    await reopen()
    expect(parts.committed(LEASE)).toBe(20)
    expect(await parts.receive(whole(TEXT.slice(20)), from(20))).toEqual({ result: 'stored' })
    expect(await stored()).toBe(TEXT)
  })

  it('that were complete but not published are so by an empty body (U5)', async () => {
    await writeFile(join(directory, 'incoming', `${LEASE}.${HASH}.part`), TEXT)
    await reopen()
    expect(await parts.receive(whole(), from(56))).toEqual({ result: 'stored' })
    expect(await stored()).toBe(TEXT)
  })

  it('pass over what has come already, and are never taken back (U1)', async () => {
    await brokenAfter(TEXT.slice(0, 20))
    const second = open(TEXT.slice(0, 9))
    const received = parts.receive(second, from(0))
    await settle(() => second.readableLength === 0)
    second.destroy()
    expect(await received).toEqual({ result: 'broken', committed: 20 })
    const rest = [TEXT.slice(7, 19), TEXT.slice(19, 22), TEXT.slice(22)]
    expect(await parts.receive(whole(...rest), from(7))).toEqual({ result: 'stored' })
    expect(await stored()).toBe(TEXT)
  })

  it('that are all there do not make up for a body that is too short (U2)', async () => {
    expect(await brokenAfter(TEXT)).toEqual({ result: 'broken', committed: 56 })
    expect(await parts.receive(whole(TEXT.slice(0, 9)), from(0))).toEqual({ result: 'wrong-length' })
    expect(parts.committed(LEASE)).toBe(0)
  })

  it('say how much there is when the offset lies beyond it, and keep it (U1)', async () => {
    expect(await parts.receive(whole(TEXT), from(1))).toEqual({ result: 'ahead', committed: 0 })
    await brokenAfter(TEXT.slice(0, 20))
    expect(await parts.receive(whole(TEXT), from(21))).toEqual({ result: 'ahead', committed: 20 })
    expect(parts.committed(LEASE)).toBe(20)
  })

  it('begun with another hash count for nothing, and are dropped when a new one starts (U3)', async () => {
    await brokenAfter('x'.repeat(20), piece({ hash: OTHER }))
    expect([parts.committed(LEASE), parts.committed(LEASE, HASH)]).toEqual([20, 0])
    expect(await parts.receive(whole(), from(20))).toEqual({ result: 'ahead', committed: 0 })
    expect(await brokenAfter(TEXT.slice(0, 5))).toEqual({ result: 'broken', committed: 5 })
    expect(incoming()).toEqual([`${LEASE}.${HASH}.part`])
  })

  it.each([
    ['a byte short', TEXT.slice(0, 55)],
    ['empty', ''],
    ['a byte long', `${TEXT}x`],
  ])('that end %s are dropped (U2)', async (_name, text) => {
    expect(await parts.receive(whole(text), from(0))).toEqual({ result: 'wrong-length' })
    expect(incoming()).toEqual([])
    expect(parts.committed(LEASE)).toBe(0)
  })

  it('never hold more than their contribution, however much is sent (U2)', async () => {
    const body = new PassThrough()
    const received = parts.receive(body, from(0))
    body.write(TEXT)
    await settle(() => parts.committed(LEASE) === 56)
    body.write('x')
    expect(await received).toEqual({ result: 'wrong-length' })
    expect(body.destroyed).toBe(false)
  })

  it('that do not hash to their name are dropped (U3)', async () => {
    expect(await parts.receive(whole('x'.repeat(56)), from(0))).toEqual({ result: 'hash-mismatch' })
    expect(incoming()).toEqual([])
    expect(await vault.has(HASH)).toBe(false)
    expect(await parts.receive(whole(TEXT), from(0))).toEqual({ result: 'stored' })
  })

  it('damaged on disk while no process ran are found out by their hash (U3)', async () => {
    await writeFile(join(directory, 'incoming', `${LEASE}.${HASH}.part`), 'x'.repeat(20))
    await reopen()
    expect(await parts.receive(whole(TEXT.slice(20)), from(20))).toEqual({ result: 'hash-mismatch' })
    expect(incoming()).toEqual([])
  })

  it('of an upload that gives next to nothing are kept, and it is cut off (U8)', async () => {
    const body = open(TEXT.slice(0, 20))
    const received = parts.receive(body, from(0))
    await settle(() => parts.committed(LEASE) === 20)
    clock.pass(59)
    body.write(TEXT.slice(20, 21))
    await settle(() => parts.committed(LEASE) === 21)
    clock.pass(1)
    expect(await received).toEqual({ result: 'stalled', committed: 21 })
  })

  it('of an upload that brings its share in time go on growing (U8)', async () => {
    const bytes = Buffer.alloc(3 * LIMITS.uploadIdleBytes)
    const hash = createHash('sha256').update(bytes).digest('hex')
    const body = new PassThrough()
    const received = parts.receive(body, piece({ hash, bytes: bytes.length }))
    for (let sent = 0; sent < bytes.length; sent += LIMITS.uploadIdleBytes) {
      await settle(() => parts.committed(LEASE) === sent)
      clock.pass(59)
      body.write(bytes.subarray(sent, sent + LIMITS.uploadIdleBytes))
    }
    body.end()
    expect(await received).toEqual({ result: 'stored' })
  })

  it('are taken over by a newer upload, from where the older one stops (U7)', async () => {
    const older = open(TEXT.slice(0, 20))
    const first = parts.receive(older, from(0))
    await settle(() => parts.committed(LEASE) === 20)
    const second = parts.receive(whole(TEXT.slice(15)), from(15))
    older.write(TEXT.slice(20, 40))
    expect(await second).toEqual({ result: 'stored' })
    expect(await first).toEqual({ result: 'stored' }) // the same contribution, which the vault now has
    expect(await stored()).toBe(TEXT)
  })

  it('taken over by an upload that fails in turn leave the older one superseded (U7)', async () => {
    const first = parts.receive(open(TEXT.slice(0, 20)), from(0))
    await settle(() => parts.committed(LEASE) === 20)
    const second = open('')
    const received = parts.receive(second, from(20))
    second.destroy()
    expect(await received).toEqual({ result: 'broken', committed: 20 })
    expect(await first).toEqual({ result: 'superseded', committed: 20 })
  })

  it('taken over by an upload of another hash are dropped (U3, U7)', async () => {
    const first = parts.receive(open(TEXT.slice(0, 20)), from(0))
    await settle(() => parts.committed(LEASE) === 20)
    const second = parts.receive(whole('x'.repeat(56)), piece({ hash: OTHER }))
    expect(await first).toEqual({ result: 'superseded', committed: 0 })
    expect(await second).toEqual({ result: 'stored' })
    expect(incoming()).toEqual([`${LEASE}.${OTHER}.part`])
  })

  it('are stored once when several uploads of the same bytes come together (U6, U7)', async () => {
    const several = Array.from({ length: LIMITS.uploadsPerLease }, () =>
      parts.receive(whole(TEXT.slice(0, 30), TEXT.slice(30)), from(0)),
    )
    expect(new Set((await Promise.all(several)).map(({ result }) => result))).toEqual(new Set(['stored']))
    expect(await stored()).toBe(TEXT)
    expect(incoming()).toEqual([`${LEASE}.${HASH}.part`])
  })

  it('have only so many uploads waiting: the oldest gives up at once (U7)', async () => {
    const bodies = Array.from({ length: 20 }, () => open(''))
    const received = bodies.map((body) => parts.receive(body, from(0)))
    const oldest = received.slice(0, -LIMITS.uploadsPerLease)
    const superseded = { result: 'superseded', committed: 0 }
    expect(await Promise.all(oldest)).toEqual(oldest.map(() => superseded))
    bodies.at(-1)?.end(TEXT)
    const rest = await Promise.all(received.slice(-LIMITS.uploadsPerLease))
    expect(new Set(rest.map(({ result }) => result))).toEqual(new Set(['stored']))
  })

  it('of two leases do not meet, though their bytes be the same (U5)', async () => {
    const [a, b] = [open(TEXT.slice(0, 20)), open(TEXT.slice(0, 30))]
    const received = [parts.receive(a, from(0)), parts.receive(b, piece({ lease: 'lease-02' }))]
    await settle(() => parts.committed(LEASE) === 20 && parts.committed('lease-02') === 30)
    a.end(TEXT.slice(20))
    b.end(TEXT.slice(30))
    expect(await Promise.all(received)).toEqual([{ result: 'stored' }, { result: 'stored' }])
    await parts.keepOnly(['lease-02'])
    expect(incoming()).toEqual([`lease-02.${HASH}.part`])
    expect(await stored()).toBe(TEXT)
  })

  it('go when their lease does, under way or not, now or found at start (U5)', async () => {
    await brokenAfter(TEXT.slice(0, 20), piece({ lease: 'lease-02' }))
    await brokenAfter(TEXT.slice(0, 20), piece({ lease: 'lease-03' }))
    const received = parts.receive(open(TEXT.slice(0, 20)), from(0))
    await settle(() => parts.committed(LEASE) === 20)
    await parts.drop([LEASE, 'lease-02', 'lease-04'])
    expect(await received).toEqual({ result: 'discarded', committed: 20 })
    expect(incoming()).toEqual([`lease-03.${HASH}.part`])
    await reopen()
    await parts.keepOnly([])
    expect(incoming()).toEqual([])
  })

  it('stay when everything is closed, and no more is taken (U5, U12)', async () => {
    const received = parts.receive(open(TEXT.slice(0, 20)), from(0))
    await settle(() => parts.committed(LEASE) === 20)
    await parts.close()
    expect(await received).toEqual({ result: 'closing', committed: 20 })
    expect(await parts.receive(whole(TEXT), from(0))).toEqual({ result: 'closing', committed: 20 })
    expect(incoming()).toEqual([`${LEASE}.${HASH}.part`])
  })

  it('hold back a sender that is faster than the disk (U4)', async () => {
    const size = 8 * 1024 * 1024
    let given = 0
    const body = new Readable({
      highWaterMark: 64 * 1024,
      read() {
        given += 64 * 1024
        this.push(given > size ? null : Buffer.alloc(64 * 1024))
      },
    })
    let ahead = 0
    const watch = setInterval(() => {
      ahead = Math.max(ahead, given - parts.committed(LEASE))
    }, 1)
    const hash = createHash('sha256').update(Buffer.alloc(size)).digest('hex')
    expect(await parts.receive(body, piece({ hash, bytes: size }))).toEqual({ result: 'stored' })
    clearInterval(watch)
    expect(ahead).toBeLessThan(512 * 1024)
  })
})
