/**
 * A group's public blobs: each member fetches one piece from the coordinator and passes it on, so that the coordinator sends
 * a blob once a group. Whatever is missing is fetched directly, and only the whole's hash is trusted, so a member who
 * lies or sleeps costs the others one more request.
 */
import { pieceOf } from '../../shared/mesh/slices.ts'
import { ROUTES } from '../../shared/protocol/admin.ts'
import { MESH_LIMITS, type PeerHeader } from '../../shared/protocol/mesh.ts'
import { traffic } from '../storage/blobs.ts'
import { sha256 } from '../storage/sha256.ts'
import type { MeshGroup } from './group.ts'
import { collector, type LinkPorts, type Sink, sourceOf } from './link.ts'

type Others = Pick<MeshGroup, 'message' | 'link' | 'linked' | 'whole'>
type Piece = Uint8Array<ArrayBuffer>

/** Of one blob: by member, what it sent. */
interface Arrivals {
  readonly total: number
  readonly pieces: Map<number, Promise<Piece>>
  /** When something last came of any piece; as performance.now() tells it. */
  movedAt: number
  wake: () => void
}

/** Blobs of which pieces are kept; of older ones nobody asks any more. */
const MOST_BLOBS = 6
/** Pieces that one member may be sending at a time. */
const MOST_COMING = 4
/** The others are waited for while something comes of them, and no longer than at the slowest speed that is waited for. */
const IDLE_MS = 4_000

export class SharedBlobs {
  readonly #group: Others
  readonly #largest: () => number
  readonly #arrivals = new Map<string, Arrivals>()
  /** By member. */
  readonly #coming = new Map<number, number>()

  /** `largest`: bytes of the largest blob that others may send pieces of, as far as is known. */
  constructor(group: Others, largest: () => number) {
    this.#group = group
    this.#largest = largest
  }

  /** A piece from another tab, which may come before this tab wants the blob. Null: no piece that there could be. */
  accept(from: number, header: Extract<PeerHeader, { kind: 'blob' }>): ReturnType<LinkPorts['accept']> {
    const { hash, first, total, bytes } = header
    const piece = pieceOf(total, this.#group.message.size, from)
    if (total > this.#largest() || first !== piece.first || bytes !== piece.end - piece.first) return null
    if (this.#count(from, 0) >= MOST_COMING) return null
    const arrivals = this.#of(hash, total)
    if (arrivals.total !== total || arrivals.pieces.has(from)) return null
    const { sink, whole } = collector(bytes)
    const moving: Sink = {
      ...sink,
      write(piece) {
        arrivals.movedAt = performance.now()
        return sink.write(piece)
      },
    }
    arrivals.pieces.set(from, whole)
    this.#count(from, 1)
    whole
      .catch(() => arrivals.pieces.delete(from))
      .finally(() => {
        this.#count(from, -1)
        arrivals.wake()
      })
    return { bytes, sink: moving }
  }

  #count(member: number, more: number): number {
    const count = (this.#coming.get(member) ?? 0) + more
    this.#coming.set(member, count)
    return count
  }

  /** The blob, verified; null when it is better fetched alone. @throws the signal's reason when aborted */
  async fetch(hash: string, bytes: number, signal: AbortSignal): Promise<Piece | null> {
    const group = this.#group
    const { size, index } = group.message
    if (this.#arrivals.get(hash)?.total !== bytes) this.#arrivals.delete(hash) // somebody made it up
    const arrivals = this.#of(hash, bytes)
    const own = await this.#range(hash, bytes, index, signal)
    if (own === null) return null
    const { first, end } = pieceOf(bytes, size, index)
    const header: PeerHeader = { kind: 'blob', hash, first, total: bytes, bytes: end - first }
    for (const other of group.linked)
      void group
        .link(other)
        ?.send(header, sourceOf(own))
        .catch(() => undefined) // it asks for itself then
    await this.#others(arrivals, IDLE_MS + (1_000 * bytes) / MESH_LIMITS.slowestBytesPerSecond, signal)
    const whole = new Uint8Array(bytes)
    for (let member = 0; member < size; member++) {
      const piece = member === index ? own : await this.#pieceFrom(arrivals, member)
      const bounds = pieceOf(bytes, size, member)
      const got = piece ?? (await this.#range(hash, bytes, member, signal))
      if (got === null) return null
      whole.set(got, bounds.first)
    }
    this.#arrivals.delete(hash)
    return (await sha256(whole)) === hash ? whole : null
  }

  #of(hash: string, total: number): Arrivals {
    const known = this.#arrivals.get(hash)
    if (known) return known
    const arrivals: Arrivals = { total, pieces: new Map(), movedAt: 0, wake: () => undefined }
    this.#arrivals.set(hash, arrivals)
    const [oldest] = this.#arrivals.keys()
    if (this.#arrivals.size > MOST_BLOBS && oldest !== undefined) this.#arrivals.delete(oldest)
    return arrivals
  }

  /** Until all have come, or it is quicker to ask the coordinator. */
  async #others(arrivals: Arrivals, ms: number, signal: AbortSignal): Promise<void> {
    const { size } = this.#group.message
    const began = performance.now()
    for (;;) {
      signal.throwIfAborted()
      const settled = await Promise.all([...arrivals.pieces.values()].map(hasCome))
      const idleUntil = Math.max(began, arrivals.movedAt) + IDLE_MS
      const left = Math.min(began + ms, idleUntil) - performance.now()
      if (settled.filter(Boolean).length >= size - 1 || left <= 0 || !this.#group.whole) return
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(left, 250))
        arrivals.wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  async #pieceFrom({ pieces }: Arrivals, member: number): Promise<Piece | null> {
    const piece = pieces.get(member)
    return piece && (await hasCome(piece)) ? piece : null
  }

  /** Piece `member` from the coordinator; null when it does not give it. */
  async #range(hash: string, total: number, member: number, signal: AbortSignal): Promise<Piece | null> {
    const { first, end } = pieceOf(total, this.#group.message.size, member)
    if (end === first) return new Uint8Array(0)
    try {
      const headers = { range: `bytes=${first}-${end - 1}` }
      const response = await fetch(ROUTES.blob(hash), { signal, headers, cache: 'no-store' })
      if (response.status !== 206) {
        await response.body?.cancel()
        return null
      }
      const piece = new Uint8Array(await response.arrayBuffer())
      traffic.down += piece.length
      return piece.length === end - first ? piece : null
    } catch {
      signal.throwIfAborted()
      return null
    }
  }
}

/** Whether a promise has been fulfilled by now. */
const hasCome = (piece: Promise<Piece>): Promise<boolean> =>
  Promise.race([
    piece.then(
      () => true,
      () => false,
    ),
    new Promise<boolean>((resolve) => setTimeout(() => resolve(false))),
  ])
