/**
 * The checkpoints of all runs: kept and dropped by rule, listed, handed out, gone back to, started from. Which ones are
 * kept is rules.ts's, what files that frees prune.ts's. Everything here that must not meet a half-done other goes one
 * after another (K6).
 */
import { manifestFromBytes } from '../../shared/corpus/manifest.ts'
import type { CheckpointFile, CheckpointRow, StartRequest } from '../../shared/protocol/checkpoints.ts'
import { PotluckError } from '../../shared/protocol/errors.ts'
import { LIMITS } from '../../shared/protocol/limits.ts'
import { modelOf } from '../../shared/protocol/modelOf.ts'
import type { RunConfig } from '../../shared/protocol/run.ts'
import { tokenizerToHuggingFace } from '../../shared/tokenizer/huggingFace.ts'
import { tokenizerFromJSON } from '../../shared/tokenizer/json.ts'
import type { Tokenizer } from '../../shared/tokenizer/tokenizer.ts'
import type { Aggregator } from '../aggregate/aggregator.ts'
import type { Merge, MergedFragment } from '../rounds/events.ts'
import type { Checkpoint, Machine } from '../rounds/state.ts'
import type { BlobStore } from '../store/blobs.ts'
import { Lanes } from '../store/lanes.ts'
import type { CheckpointRecord, MetadataStore, RunFile, RunRecord, StartingPoint } from '../store/metadata.ts'
import { type Download, jsonDownload, openWeights } from './download.ts'
import { prune } from './prune.ts'
import { readerConfig } from './readerConfig.ts'
import { keptCheckpoints } from './rules.ts'
import { startFromCheckpoint, startFromImport } from './start.ts'

export interface CheckpointParts {
  readonly store: MetadataStore
  readonly blobs: BlobStore
  readonly vault: BlobStore
  readonly aggregator: Pick<Aggregator, 'merge'>
  /** Of the run under way, as it is when it is asked for. */
  readonly machine: () => Machine | null
  /** Contributions that are coming. */
  readonly comes: (hash: string) => boolean
}

export class Checkpoints {
  readonly #parts: CheckpointParts
  readonly #disk = new Lanes(1)
  /** What the last merge made, which may not be committed yet. */
  #fresh: RunFile[] = []
  readonly #held = new Set<readonly RunFile[]>()

  constructor(parts: CheckpointParts) {
    this.#parts = parts
  }

  /** The files are noted as the run's before anybody hears of them, whatever becomes of the merge. */
  merge(run: string, merge: Merge): Promise<MergedFragment> {
    return this.alone(async () => {
      const merged = await this.#parts.aggregator.merge(merge)
      const { weights, exact, velocity } = merged.base
      this.#fresh = [
        ...[weights, merged.delta.hash].map((hash) => ({ run, store: 'blobs' as const, hash })),
        ...[exact, velocity].flatMap((hash) => (hash === null ? [] : { run, store: 'vault' as const, hash })),
      ]
      await this.#parts.store.noteFiles(this.#fresh)
      return merged
    })
  }

  /** What the last merge made has its names in a transaction, or never will. */
  committed(): void {
    this.#fresh = []
  }

  /** Public weights that are being measured stay until the answer is called. */
  hold(run: string, weights: readonly string[]): () => void {
    const files = weights.map((hash) => ({ run, store: 'blobs' as const, hash }))
    this.#held.add(files)
    return () => this.#held.delete(files)
  }

  /** Harmless at any time. */
  prune(): Promise<void> {
    return this.alone(() =>
      prune({ ...this.#parts, fresh: () => [...this.#fresh, ...[...this.#held].flat()] }),
    )
  }

  /**
   * Hands the checkpoint to `go` while its files cannot be deleted.
   * @throws PotluckError `not-found`, `bad-blob`
   */
  at<T>(run: string, round: number, go: (checkpoint: Checkpoint) => Promise<T>): Promise<T> {
    return this.alone(async () => {
      const { fragments, pool } = await this.#find(run, round)
      for (const { weights, exact, velocity } of fragments) {
        await this.#parts.blobs.verify(weights)
        for (const hash of [exact, velocity]) if (hash !== null) await this.#parts.vault.verify(hash)
      }
      return go({ round, fragments, pool })
    })
  }

  /** @throws PotluckError `not-found`, `bad-blob` */
  async download(run: string, round: number, file: CheckpointFile): Promise<Download> {
    const { blobs } = this.#parts
    const record = await this.#run(run)
    switch (file) {
      case 'model.safetensors':
        return this.alone(async () => {
          const { fragments } = await this.#find(run, round)
          const hashes = fragments.map(({ weights }) => weights)
          return openWeights(blobs, { model: modelOf(record.config), run, round, hashes })
        })
      case 'config.json': {
        const checkpoint = await this.#find(run, round)
        const { endOfText } = await this.#tokenizerOf(record)
        return jsonDownload(file, readerConfig(record, checkpoint, endOfText))
      }
      case 'tokenizer.json':
        await this.#find(run, round)
        return jsonDownload(file, tokenizerToHuggingFace(await this.#tokenizerOf(record)))
      default:
        return file satisfies never
    }
  }

  async #tokenizerOf({ manifest }: RunRecord): Promise<Tokenizer> {
    const { blobs } = this.#parts
    const { tokenizer } = manifestFromBytes(await blobs.get(manifest ?? ''))
    return tokenizerFromJSON(await blobs.get(tokenizer))
  }

  /** Work that must not meet the deletion of files that nothing names yet. [K6] */
  alone<T>(work: () => Promise<T>): Promise<T> {
    return this.#disk.through(work)
  }

  /** What the operator sees, newest run and round first. */
  async list(): Promise<CheckpointRow[]> {
    const { store } = this.#parts
    const all = await store.checkpoints(null)
    const rows: CheckpointRow[] = []
    for (const run of new Set(all.map((one) => one.run).reverse())) {
      const record = await store.run(run).catch(() => null) // another run's damage is no reason to show none
      if (record === null) continue
      const own = all.filter((one) => one.run === run)
      rows.push(...rowsOf(record, own).reverse())
      if (rows.length >= LIMITS.checkpointsListed) break
    }
    return rows.slice(0, LIMITS.checkpointsListed)
  }

  /** What a new run of this config starts from. @throws PotluckError `not-found`, `bad-start`, `bad-blob` */
  async startingPoint(start: StartRequest, config: RunConfig): Promise<StartingPoint> {
    const { store } = this.#parts
    if (start.kind === 'checkpoint') {
      const record = await this.#run(start.run)
      return this.at(start.run, start.round, async (checkpoint) =>
        startFromCheckpoint({ record, checkpoint, moments: start.moments }, config),
      )
    }
    const imported = (await store.imports()).find(({ hash }) => hash === start.hash)
    if (!imported)
      throw new PotluckError('not-found', 'These weights are no longer here. Upload them again.', 404)
    return startFromImport(imported, config)
  }

  async #run(id: string): Promise<RunRecord> {
    const record = await this.#parts.store.run(id)
    if (!record) throw new PotluckError('not-found', `There is no run ${id}.`, 404)
    return record
  }

  async #find(run: string, round: number): Promise<CheckpointRecord> {
    const found = (await this.#parts.store.checkpoints(run)).find((one) => one.round === round)
    if (found) return found
    throw new PotluckError('not-found', `The run keeps no checkpoint of round ${round}.`, 404)
  }
}

function rowsOf({ id, config }: RunRecord, own: readonly CheckpointRecord[]): CheckpointRow[] {
  const kept = keptCheckpoints(own, config.checkpoints, config.fragments)
  return own.map((one) => {
    const values = one.fragments.map(({ parameters }) => parameters)
    const parameters = values.reduce((sum, count) => sum + count, 0)
    const more = one.fragments.reduce(
      (sum, base) => sum + base.parameters * (Number(base.exact !== null) + Number(base.velocity !== null)),
      0,
    )
    return {
      run: id,
      name: config.name,
      preset: config.preset,
      vocabSize: modelOf(config).vocabSize,
      round: one.round,
      rounds: config.rounds,
      valLoss: one.valLoss,
      bitsPerByte: one.bitsPerByte,
      trainLoss: one.trainLoss,
      weightsBytes: 4 * parameters,
      bytes: 4 * (parameters + more),
      reasons: kept.get(one.round) ?? [],
      at: one.at,
    }
  })
}
