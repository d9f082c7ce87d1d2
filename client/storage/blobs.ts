/**
 * Fetches blobs by hash and checks them: from this browser's disk (blobStore.ts), else from the coordinator, going on
 * where a broken connection stopped. Bytes are immutable, so what is half here stays good, also across a reload.
 */
import { ROUTES } from '../../shared/protocol/admin.ts'
import { backoff, wait } from '../swarm/patience.ts'
import { Arrival } from './arrival.ts'
import { type BlobStore, blobStore } from './blobStore.ts'
import { sha256 } from './sha256.ts'

export { sha256 }

export class BlobError extends Error {
  override readonly name = 'BlobError'
  constructor(
    readonly code: 'not-found' | 'bad-blob',
    message: string,
  ) {
    super(message)
  }
}

/** Bytes of the blob that are here; falls back when they turn out damaged. */
export type OnBytes = (received: number) => void

/** Since the page was opened: bytes of blobs that came over the network, damaged ones too, and of contributions sent. */
export const traffic = { down: 0, up: 0 }

export interface FetchOptions {
  /** Whether the blob is kept on disk. Default: true. */
  readonly keep?: boolean
  readonly store?: BlobStore
  /** Hears of each chunk that came over the network. */
  readonly onNetwork?: (bytes: number) => void
  readonly fetch?: typeof fetch
  /** Waits before try `attempt + 1`. */
  readonly pause?: (attempt: number, signal: AbortSignal) => Promise<void>
}

const TRIES_OF_DAMAGED = 3

/**
 * The blob's bytes, verified against its name. Goes on trying while the coordinator cannot be reached.
 * @throws BlobError `not-found`, or `bad-blob` when it stays damaged; the signal's reason when aborted.
 */
export async function fetchBlob(
  hash: string,
  signal: AbortSignal,
  onBytes: OnBytes = () => undefined,
  options: FetchOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const { keep = true, store = blobStore } = options
  signal.throwIfAborted()
  const kept = await store.read(hash)
  signal.throwIfAborted()
  if (kept !== null) {
    onBytes(kept.length)
    return kept
  }
  const bytes = await download(hash, signal, onBytes, options)
  if (keep) await store.keep(hash, bytes)
  return bytes
}

async function download(hash: string, signal: AbortSignal, onBytes: OnBytes, options: FetchOptions) {
  const { keep = true, store = blobStore, pause = untilNextTry } = options
  const arrival = new Arrival(hash, keep && (await store.usable()) ? store : null)
  await arrival.restore()
  let damaged = 0
  let furthest = arrival.length
  for (let attempt = 0; ; attempt++) {
    signal.throwIfAborted()
    if (await receive(arrival, { signal, onBytes, damaged, options })) {
      const bytes = arrival.take()
      await arrival.forget()
      if ((await sha256(bytes)) === hash) return bytes
      damaged += 1
      furthest = 0
      if (damaged === TRIES_OF_DAMAGED) {
        throw new BlobError('bad-blob', `The file ${hash.slice(0, 12)}… arrives damaged every time.`)
      }
    } else if (arrival.length > furthest) {
      furthest = arrival.length
      attempt = 0 // it gets on: the next wait is short
    }
    await pause(attempt, signal)
  }
}

const untilNextTry = (attempt: number, signal: AbortSignal) => wait(backoff(attempt), signal)

interface Attempt {
  readonly signal: AbortSignal
  readonly onBytes: OnBytes
  /** How often the blob arrived damaged so far. */
  readonly damaged: number
  readonly options: FetchOptions
}

/** One connection. True when the blob is whole, false when there is more to come or no answer. @throws BlobError. */
async function receive(arrival: Arrival, attempt: Attempt): Promise<boolean> {
  try {
    if (arrival.isWhole) return true
    const response = await request(arrival, attempt)
    if (response === null) return false
    // The body begins behind the last byte there is: the end was missed, no more.
    if (response.status === 416 && arrival.length > 0) return true
    return await readBody(response, arrival, attempt)
  } catch (error) {
    if (error instanceof BlobError) throw error
    attempt.signal.throwIfAborted()
    return false // no connection, or one that broke
  }
}

async function request(arrival: Arrival, { signal, damaged, options }: Attempt): Promise<Response | null> {
  const { fetch: send = fetch } = options
  // What is kept on disk need not lie in the HTTP cache too; what came damaged may be damaged in there.
  const cache = damaged > 0 ? 'reload' : arrival.onDisk ? 'no-store' : 'default'
  const headers: Record<string, string> =
    arrival.length === 0 ? {} : { range: `bytes=${arrival.length}-`, 'if-range': `"${arrival.hash}"` }
  const response = await send(ROUTES.blob(arrival.hash), { signal, cache, headers })
  if (response.ok || response.status === 416) return response
  await response.body?.cancel()
  if (response.status !== 404) return null // a coordinator that is starting, or too busy
  throw new BlobError('not-found', `The coordinator no longer has ${arrival.hash.slice(0, 12)}….`)
}

async function readBody(response: Response, arrival: Arrival, { onBytes, options }: Attempt) {
  const { start, total } = extentOf(response)
  if (start !== arrival.length) await arrival.forget()
  if (response.body === null) return false
  if (start !== arrival.length) {
    await response.body.cancel() // neither the bytes that were asked for nor the first
    return false
  }
  arrival.expect(total)
  for await (const chunk of chunksOf(response.body)) {
    traffic.down += chunk.length
    options.onNetwork?.(chunk.length)
    await arrival.add(chunk)
    onBytes(arrival.length)
  }
  return total === null || arrival.isWhole
}

const CONTENT_RANGE = /^bytes (\d+)-\d+\/(\d+)$/

/** Where the body begins in the blob and how long the blob is, null when the answer does not tell. */
function extentOf(response: Response): { start: number | null; total: number | null } {
  if (response.status === 206) {
    const [, start, total] = response.headers.get('content-range')?.match(CONTENT_RANGE) ?? []
    return start === undefined ? { start: null, total: null } : { start: Number(start), total: Number(total) }
  }
  const length = response.headers.get('content-length')
  const packed = response.headers.has('content-encoding') // then the length is that of the packed bytes
  return { start: 0, total: length === null || packed ? null : Number(length) }
}

/** Safari's streams are not async iterables. */
async function* chunksOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader()
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      yield value
    }
  } finally {
    await reader.cancel().catch(() => undefined) // it broke before
  }
}
