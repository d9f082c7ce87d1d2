/**
 * Fetches blobs by hash and checks them. Bytes are immutable, so the browser's HTTP cache keeps them; here only
 * what is in use stays in memory.
 */
import { ROUTES } from '../../shared/protocol/admin.ts'
import { backoff, wait } from '../swarm/patience.ts'

export class BlobError extends Error {
  override readonly name = 'BlobError'
  constructor(
    readonly code: 'not-found' | 'bad-blob',
    message: string,
  ) {
    super(message)
  }
}

export type OnBytes = (received: number) => void

const TRIES_OF_DAMAGED = 3

/**
 * The blob's bytes, verified against its name. Goes on trying while the coordinator cannot be reached.
 * @throws BlobError `not-found`, or `bad-blob` when it stays damaged; the signal's reason when aborted.
 */
export async function fetchBlob(
  hash: string,
  signal: AbortSignal,
  onBytes?: OnBytes,
): Promise<Uint8Array<ArrayBuffer>> {
  let damaged = 0
  for (let attempt = 0; ; attempt++) {
    signal.throwIfAborted()
    const bytes = await download(hash, signal, damaged > 0, onBytes).catch((error: unknown) => {
      if (error instanceof BlobError || signal.aborted) throw error
      return null // no connection, or a coordinator that is starting
    })
    if (bytes !== null) {
      if ((await sha256(bytes)) === hash) return bytes
      damaged += 1
      if (damaged === TRIES_OF_DAMAGED) {
        throw new BlobError('bad-blob', `The file ${hash.slice(0, 12)}… arrives damaged every time.`)
      }
    }
    await wait(backoff(attempt), signal)
  }
}

async function download(hash: string, signal: AbortSignal, fresh: boolean, onBytes?: OnBytes) {
  const response = await fetch(ROUTES.blob(hash), { signal, cache: fresh ? 'reload' : 'default' })
  if (response.status === 404)
    throw new BlobError('not-found', `The coordinator no longer has ${hash.slice(0, 12)}….`)
  if (!response.ok || response.body === null) return null
  const chunks: Uint8Array[] = []
  let received = 0
  for await (const chunk of chunksOf(response.body)) {
    chunks.push(chunk)
    received += chunk.length
    onBytes?.(received)
  }
  return joined(chunks, received)
}

/** Safari's streams are not async iterables. */
async function* chunksOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    yield value
  }
}

function joined(chunks: readonly Uint8Array[], length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length)
  let at = 0
  for (const chunk of chunks) {
    bytes.set(chunk, at)
    at += chunk.length
  }
  return bytes
}

/** 64 lower-case hex digits. */
export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
