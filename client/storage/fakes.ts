/** For tests: a folder in memory with a disk that can be full, and a coordinator that serves blobs and breaks off. */
import { ROUTES } from '../../shared/protocol/admin.ts'
import type { Entry, Folder } from './folder.ts'
import { sha256 } from './sha256.ts'

/** Its clock advances by one with each write. */
export class MemoryFolder implements Folder {
  readonly files = new Map<string, { bytes: Uint8Array<ArrayBuffer>; modified: number }>()
  /** Bytes of all files together. */
  capacity = Number.POSITIVE_INFINITY
  writes = 0

  async usable() {
    return true
  }

  async open(name: string) {
    const file = this.files.get(name)
    return file ? new Blob([file.bytes]) : null
  }

  async write(name: string, pieces: readonly Uint8Array<ArrayBuffer>[]) {
    const bytes = concatenated(pieces)
    const others = this.used - (this.files.get(name)?.bytes.length ?? 0)
    if (others + bytes.length > this.capacity) throw new DOMException('full', 'QuotaExceededError')
    this.writes += 1
    this.files.set(name, { bytes, modified: this.writes })
  }

  async remove(name: string) {
    this.files.delete(name)
  }

  async list(): Promise<Entry[]> {
    return Array.from(this.files, ([name, { bytes, modified }]) => ({ name, bytes: bytes.length, modified }))
  }

  get used(): number {
    return Array.from(this.files.values()).reduce((sum, { bytes }) => sum + bytes.length, 0)
  }

  get names(): string[] {
    return [...this.files.keys()].sort()
  }
}

/** What a browser without storage has: everything fails. */
export class NoFolder implements Folder {
  usable = async () => false
  open = () => Promise.reject(new Error('no storage'))
  write = () => Promise.reject(new Error('no storage'))
  remove = () => Promise.reject(new Error('no storage'))
  list = () => Promise.reject(new Error('no storage'))
}

/** How one answer goes wrong; without any of these it does not. */
export interface Fault {
  /** Breaks the connection after so many bytes of the body. */
  readonly cutAfter?: number
  readonly status?: number
  /** Answers 200 whatever range is asked for. */
  readonly ignoreRange?: boolean
  /** Turns over the first bit of the body. */
  readonly flip?: boolean
  /** No content-length, so that the end of a body cannot be told from a break without an error. */
  readonly lengthless?: boolean
  /** Begins so many bytes behind what was asked for. */
  readonly shift?: number
  /** The break looks like a proper end. */
  readonly silent?: boolean
  readonly offline?: boolean
}

/** Serves as coordinator/http/blobs.ts does. Each request takes the next fault from `faults`. */
export class FakeCoordinator {
  readonly blobs = new Map<string, Uint8Array<ArrayBuffer>>()
  readonly requests: { hash: string; range: string | null; cache: string | undefined }[] = []
  readonly faults: Fault[] = []
  /** Bytes of a chunk of a body. */
  chunk = 3
  /** Bytes of bodies that left. */
  sent = 0

  async put(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
    const hash = await sha256(bytes)
    this.blobs.set(hash, bytes)
    return hash
  }

  readonly fetch: typeof fetch = async (input, init) => {
    const hash = String(input).split('/').at(-1) ?? ''
    const headers = new Headers(init?.headers)
    const range = headers.get('range')
    this.requests.push({ hash, range, cache: init?.cache })
    init?.signal?.throwIfAborted()
    const fault = this.faults.shift() ?? {}
    if (fault.offline) throw new TypeError('Failed to fetch')
    if (fault.status !== undefined) return new Response('no', { status: fault.status })
    const blob = this.blobs.get(hash)
    if (blob === undefined || input !== ROUTES.blob(hash)) return new Response('{}', { status: 404 })
    const fresh = range === null || fault.ignoreRange || headers.get('if-range') !== `"${hash}"`
    return this.#answer(blob, fresh ? null : Number(range.match(/^bytes=(\d+)-$/)?.[1]), fault)
  }

  #answer(blob: Uint8Array<ArrayBuffer>, asked: number | null, fault: Fault): Response {
    if (asked !== null && asked >= blob.length) {
      return new Response(null, { status: 416, headers: { 'content-range': `bytes */${blob.length}` } })
    }
    const start = (asked ?? 0) + (fault.shift ?? 0)
    const body = blob.slice(start)
    if (fault.flip) body[0] = (body[0] ?? 0) ^ 1
    const headers = new Headers()
    if (!fault.lengthless) headers.set('content-length', String(body.length))
    if (asked !== null) headers.set('content-range', `bytes ${start}-${blob.length - 1}/${blob.length}`)
    return new Response(this.#stream(body, fault), { status: asked === null ? 200 : 206, headers })
  }

  #stream(body: Uint8Array<ArrayBuffer>, { cutAfter = Infinity, silent }: Fault): ReadableStream<Uint8Array> {
    let at = 0
    return new ReadableStream<Uint8Array>(
      {
        pull: (controller) => {
          if (at >= cutAfter && !silent) return controller.error(new TypeError('network error'))
          const end = Math.min(at + this.chunk, body.length, cutAfter)
          if (end === at) return controller.close()
          controller.enqueue(body.slice(at, end))
          this.sent += end - at
          at = end
        },
      },
      { highWaterMark: 0 },
    )
  }
}

/** Bytes that differ from seed to seed. */
export function someBytes(length: number, seed = 1): Uint8Array<ArrayBuffer> {
  let state = seed
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state >>> 24
  })
}

export const never = new AbortController().signal

function concatenated(pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0))
  let at = 0
  for (const piece of pieces) {
    bytes.set(piece, at)
    at += piece.length
  }
  return bytes
}
