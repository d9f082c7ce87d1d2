/** The training text as far as this tab has needed it. Which of it is whose is the lease's business. */
import { gatherTokens, sequencesOf } from '../../shared/corpus/epoch.ts'
import { type CorpusManifest, manifestFromBytes } from '../../shared/corpus/manifest.ts'
import { decodeShard } from '../../shared/corpus/shard.ts'
import type { Lease, RunView } from '../../shared/protocol/run.ts'
import { type FetchOptions, fetchBlob } from '../storage/blobs.ts'

/** The manifest, and the few shards that leases touched last. */
export class CorpusCache {
  #manifest: { hash: string; manifest: CorpusManifest } | null = null
  readonly #shards = new Map<string, Uint16Array<ArrayBuffer>>()
  readonly #options: FetchOptions

  constructor(options: FetchOptions = {}) {
    this.#options = options
  }

  /** The blobs in use: for BlobStore.prune. */
  get hashes(): string[] {
    return [...(this.#manifest ? [this.#manifest.hash] : []), ...this.#shards.keys()]
  }

  /** The lease's sequences one after another. @throws PotluckError `bad-blob`, BlobError. */
  async sequences(
    lease: Lease,
    run: RunView,
    signal: AbortSignal,
    onBytes: (received: number, total: number) => void,
  ): Promise<Uint16Array<ArrayBuffer>> {
    const manifest = await this.#manifestOf(run, signal)
    const addresses = lease.ranges.flatMap((range) => sequencesOf(manifest, run.config.seed, range))
    const needed = [...new Set(addresses.map((address) => address.shard))]
    const shards = new Map<number, Uint16Array>()
    let before = 0
    for (const shard of needed) {
      const total =
        2 * (manifest.sequenceLength + 1) * needed.reduce((sum, s) => sum + sequencesIn(manifest, s), 0)
      shards.set(
        shard,
        await this.#shard(manifest, shard, signal, (received) => onBytes(before + received, total)),
      )
      before += 2 * (manifest.sequenceLength + 1) * sequencesIn(manifest, shard)
    }
    this.#keepOnly(needed.map((shard) => manifest.training[shard]?.hash ?? ''))
    return gatherTokens(addresses, shards, manifest.sequenceLength)
  }

  async #manifestOf(run: RunView, signal: AbortSignal): Promise<CorpusManifest> {
    const hash = run.manifest ?? ''
    if (this.#manifest?.hash !== hash) {
      this.#manifest = {
        hash,
        manifest: manifestFromBytes(await fetchBlob(hash, signal, undefined, this.#options)),
      }
    }
    return this.#manifest.manifest
  }

  async #shard(
    manifest: CorpusManifest,
    shard: number,
    signal: AbortSignal,
    onBytes: (received: number) => void,
  ) {
    const entry = manifest.training[shard]
    const kept = this.#shards.get(entry?.hash ?? '')
    if (kept !== undefined || entry === undefined) return kept ?? new Uint16Array()
    const tokens = decodeShard(await fetchBlob(entry.hash, signal, onBytes, this.#options), {
      ...manifest,
      sequences: entry.sequences,
    })
    this.#shards.set(entry.hash, tokens)
    return tokens
  }

  #keepOnly(hashes: readonly string[]): void {
    for (const hash of this.#shards.keys()) if (!hashes.includes(hash)) this.#shards.delete(hash)
  }
}

const sequencesIn = (manifest: CorpusManifest, shard: number): number =>
  manifest.training[shard]?.sequences ?? 0
