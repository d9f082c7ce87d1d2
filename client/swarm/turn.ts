/**
 * One lease from start to receipt: fetch what it needs, train, send. Knows nothing of buttons or sockets; the caller
 * watches progress and aborts.
 */
import { CODECS } from '../../shared/codec/codec.ts'
import { bytesToFloats } from '../../shared/codec/floats.ts'
import { gatherTokens, sequencesOf } from '../../shared/corpus/epoch.ts'
import { type CorpusManifest, manifestFromBytes } from '../../shared/corpus/manifest.ts'
import { decodeShard } from '../../shared/corpus/shard.ts'
import type { TrainProgress, TrainResult } from '../../shared/engine/engine.ts'
import type { Lease, Receipt, RunView } from '../../shared/protocol/run.ts'
import { fetchBlob } from '../storage/blobs.ts'
import type { RemoteEngine } from '../worker/engineClient.ts'
import { sendContribution } from './upload.ts'

export interface TurnParts {
  readonly lease: Lease
  readonly run: RunView
  readonly engine: RemoteEngine
  readonly token: string
  /** Ends everything: stop, a newer round, a lost engine. */
  readonly signal: AbortSignal
  readonly onLoading: (doneBytes: number, totalBytes: number) => void
  readonly onTraining: (progress: TrainProgress) => void
  readonly onSending: (doneBytes: number, totalBytes: number) => void
  readonly onSent: () => void
}

/** What a turn came to; null when it was stopped before its first step. */
export async function takeTurn(
  parts: TurnParts,
  cache: CorpusCache,
): Promise<{ receipt: Receipt; trained: TrainResult } | null> {
  const { lease, run, engine, token, signal } = parts
  const { weights, sequences } = await load(parts, cache)
  await engine.setParameters(bytesToFloats(weights))
  const stop = () => void engine.stop().catch(() => undefined) // a dead engine has stopped already
  signal.throwIfAborted()
  signal.addEventListener('abort', stop, { once: true })
  const { steps, batchSize, firstStep, totalSteps, peakLearningRate } = lease
  const job = { sequences, steps, batchSize, firstStep, totalSteps, peakLearningRate }
  const trained = await engine
    .train(job, { progress: parts.onTraining })
    .finally(() => signal.removeEventListener('abort', stop))
  signal.throwIfAborted()
  if (trained.steps === 0) return null
  const bytes = await engine.contribution(lease.codec)
  const total = CODECS[lease.codec].byteLength(run.parameters)
  parts.onSending(0, total)
  const contribution = { lease: lease.id, bytes, steps: trained.steps, loss: trained.meanLoss }
  const receipt = await sendContribution(contribution, token, signal, (sent) => {
    if (sent < total) parts.onSending(sent, total)
    else parts.onSent()
  })
  return { receipt, trained }
}

async function load({ lease, run, signal, onLoading }: TurnParts, cache: CorpusCache) {
  const weightBytes = run.parameters * 4
  const progress = { weights: 0, shards: 0, total: weightBytes }
  const show = () => onLoading(progress.weights + progress.shards, progress.total)
  show()
  const weights = await fetchBlob(lease.base, signal, (received) => {
    progress.weights = received
    show()
  })
  const sequences = await cache.sequences(lease, run, signal, (received, total) => {
    progress.shards = received
    progress.total = weightBytes + total
    show()
  })
  return { weights, sequences }
}

/** The corpus as far as this tab has needed it: the manifest, and the few shards that leases touched last. */
export class CorpusCache {
  #manifest: { hash: string; manifest: CorpusManifest } | null = null
  readonly #shards = new Map<string, Uint16Array<ArrayBuffer>>()

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
      this.#manifest = { hash, manifest: manifestFromBytes(await fetchBlob(hash, signal)) }
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
    const tokens = decodeShard(await fetchBlob(entry.hash, signal, onBytes), {
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
