/**
 * The global weights as a volunteer holds them, fragment by fragment: in memory, and the newest bits of each as a
 * blob on disk, so that a reload needs no download. From one global step to the next it fetches only the deltas when
 * they are fewer bytes than the snapshot, and trusts the sum only when it has the snapshot's hash. It does not know
 * which fragment lies where in the model (shared/model/layout.ts), and nothing of replicas (replica.ts).
 */
import { CODECS } from '../../shared/codec/codec.ts'
import { CodecError } from '../../shared/codec/errors.ts'
import type { DeltaView, FragmentView } from '../../shared/protocol/run.ts'
import { addDelta } from './addDelta.ts'
import { type BlobStore, blobStore } from './blobStore.ts'
import { BlobError, type FetchOptions, fetchBlob } from './blobs.ts'
import { bytesOf, floatsOf } from './floatBytes.ts'
import { sha256 } from './sha256.ts'

/** Bytes of this fragment that came so far, of those on their way. Starts again when deltas prove no use. */
export type OnFragmentBytes = (received: number, total: number) => void

export interface WeightsOptions extends FetchOptions {
  /** Asked first for a delta of so many bytes: what several tabs fetch together; null: each alone. */
  readonly together?: (
    hash: string,
    bytes: number,
    signal: AbortSignal,
  ) => Promise<Uint8Array<ArrayBuffer> | null>
}

export class GlobalWeights {
  readonly #held = new Map<number, Held>()
  readonly #options: WeightsOptions
  readonly #store: BlobStore
  #pinned: readonly string[] = []
  #downloaded = 0

  constructor(options: WeightsOptions = {}) {
    this.#options = options
    this.#store = options.store ?? blobStore
  }

  /** Bytes that came over the network for all fragments so far. */
  get downloaded(): number {
    return this.#downloaded
  }

  /** The snapshots in use: for BlobStore.prune. */
  get hashes(): string[] {
    return [...Array.from(this.#held.values(), ({ hash }) => hash), ...this.#pinned]
  }

  /** These snapshots stay on disk though newer ones come; those pinned before no longer do. */
  async pin(hashes: readonly string[]): Promise<void> {
    const before = this.#pinned
    this.#pinned = [...hashes]
    const needed = new Set(this.hashes)
    for (const hash of before) if (!needed.has(hash)) await this.#store.remove(hash)
  }

  /** A state of the fragment that is in memory or on disk, not to be changed; null when it is neither. */
  here(index: number, hash: string, parameters: number): Promise<Float32Array<ArrayBuffer> | null> {
    return this.#here(index, hash, parameters)
  }

  /**
   * The fragment `index` as `view` describes it: `parameters` values. They stay this object's own: do not change or
   * transfer them. A later call leaves them as they are and returns others.
   * @throws BlobError when the snapshot is gone or damaged; the signal's reason when aborted.
   */
  async fragment(
    index: number,
    view: FragmentView,
    parameters: number,
    signal: AbortSignal,
    onBytes: OnFragmentBytes = () => undefined,
  ): Promise<Float32Array<ArrayBuffer>> {
    signal.throwIfAborted()
    const start = await this.#nearest(index, view, parameters)
    if (start?.deltas.length === 0) return this.#hold(index, view, start.values)
    const values = start && (await this.#follow(start, view, signal, onBytes))
    signal.throwIfAborted()
    if (values === null) {
      return this.#hold(index, view, await this.#snapshot(view, parameters, signal, onBytes))
    }
    await this.#store.keep(view.hash, bytesOf(values))
    return this.#hold(index, view, values)
  }

  /** The newest state on the way that is here, unless the rest of the way is no shorter than the snapshot. */
  async #nearest(index: number, view: FragmentView, parameters: number): Promise<Start | null> {
    let bytes = 0
    for (let i = view.deltas.length; ; i--) {
      const deltas = view.deltas.slice(i)
      const values = await this.#here(index, deltas[0]?.from ?? view.hash, parameters)
      if (values !== null) return { values, deltas }
      bytes += view.deltas[i - 1]?.bytes ?? 0
      if (i === 0 || bytes >= view.bytes) return null
    }
  }

  async #here(index: number, hash: string, parameters: number): Promise<Float32Array<ArrayBuffer> | null> {
    const held = this.#held.get(index)
    if (held?.hash === hash) return held.values.length === parameters ? held.values : null
    const bytes = await this.#store.read(hash)
    return bytes?.length === 4 * parameters ? floatsOf(bytes) : null
  }

  /** Null when a delta is missing or broken, or when the sum is not the snapshot. */
  async #follow(
    { values, deltas }: Start,
    view: FragmentView,
    signal: AbortSignal,
    onBytes: OnFragmentBytes,
  ): Promise<Float32Array<ArrayBuffer> | null> {
    try {
      const blobs = await this.#fetchDeltas(deltas, signal, onBytes)
      const sum = new Float32Array(values.length)
      let from = values
      for (const [i, delta] of deltas.entries()) {
        const codec = CODECS[delta.codec]
        const bytes = blobs[i] ?? new Uint8Array()
        await addDelta({ values: from, bytes, codec, sum }, signal)
        from = sum
      }
      return (await sha256(bytesOf(sum))) === view.hash ? sum : null
    } catch (error) {
      if (error instanceof BlobError || error instanceof CodecError) return null
      throw error
    }
  }

  /** All at once: they are small and the way to the coordinator may be long. One that is missing ends the others. */
  async #fetchDeltas(deltas: readonly DeltaView[], signal: AbortSignal, onBytes: OnFragmentBytes) {
    const missing = new AbortController()
    const either = AbortSignal.any([signal, missing.signal])
    const total = deltas.reduce((sum, { bytes }) => sum + bytes, 0)
    const received = deltas.map(() => 0)
    const fetchOne = async ({ hash, bytes }: DeltaView, i: number) => {
      const show = (bytes: number) => {
        received[i] = bytes
        onBytes(
          received.reduce((sum, part) => sum + part, 0),
          total,
        )
      }
      const whole = await this.#options.together?.(hash, bytes, either)
      if (whole) {
        show(bytes)
        return whole
      }
      return fetchBlob(hash, either, show, { ...this.#counting(), keep: false })
    }
    return Promise.all(deltas.map(fetchOne)).finally(() => missing.abort())
  }

  async #snapshot(view: FragmentView, parameters: number, signal: AbortSignal, onBytes: OnFragmentBytes) {
    const show = (received: number) => onBytes(received, view.bytes)
    const bytes = await fetchBlob(view.hash, signal, show, this.#counting())
    if (bytes.length !== 4 * parameters) {
      const promised = `${bytes.length} bytes instead of ${4 * parameters}`
      throw new BlobError('bad-blob', `The weights ${view.hash.slice(0, 12)}… have ${promised}.`)
    }
    return floatsOf(bytes)
  }

  #counting(): FetchOptions {
    const { onNetwork } = this.#options
    const count = (bytes: number) => {
      this.#downloaded += bytes
      onNetwork?.(bytes)
    }
    return { ...this.#options, onNetwork: count }
  }

  /** Takes the new state over, and deletes the fragment's older ones from the disk. */
  async #hold(index: number, view: FragmentView, values: Float32Array<ArrayBuffer>) {
    const before = this.#held.get(index)
    this.#held.set(index, { hash: view.hash, values })
    const older = new Set(view.deltas.map(({ from }) => from))
    if (before) older.add(before.hash)
    for (const hash of this.hashes) older.delete(hash) // fragments may be equal, and some are pinned
    for (const hash of older) await this.#store.remove(hash)
    return values
  }
}

interface Held {
  readonly hash: string
  readonly values: Float32Array<ArrayBuffer>
}

/** Where the way begins, and what is to be added. */
interface Start {
  readonly values: Float32Array<ArrayBuffer>
  readonly deltas: readonly DeltaView[]
}
