/** Weights that the operator uploads as a safetensors file: received to disk, read strictly, kept flat for runs to start from. [W4] */
import { randomUUID } from 'node:crypto'
import { open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import type { z } from 'zod'
import { type ModelConfig, PRESETS } from '../../shared/model/config.ts'
import { parameterCount } from '../../shared/model/layout.ts'
import { MAX_SAFETENSORS_HEADER, SAFETENSORS_PREFIX } from '../../shared/model/safetensors.ts'
import type { ImportRow, importQuerySchema } from '../../shared/protocol/checkpoints.ts'
import { PotluckError } from '../../shared/protocol/errors.ts'
import { LIMITS } from '../../shared/protocol/limits.ts'
import type { Aggregator } from '../aggregate/aggregator.ts'
import type { Clock } from '../rounds/driver.ts'
import type { BlobStore } from '../store/blobs.ts'
import { Intake } from '../store/intake.ts'
import type { MetadataStore } from '../store/metadata.ts'
import type { Checkpoints } from './checkpoints.ts'

export interface ImportParts {
  readonly store: MetadataStore
  readonly vault: BlobStore
  readonly vaultDirectory: string
  readonly aggregator: Pick<Aggregator, 'readWeights'>
  readonly checkpoints: Pick<Checkpoints, 'alone'>
  readonly clock: Clock
  readonly changed: () => void
}

export class Imports {
  readonly #parts: ImportParts
  #receiving = false

  constructor(parts: ImportParts) {
    this.#parts = parts
  }

  /**
   * One at a time. `length`: bytes that the body is said to have.
   * @throws PotluckError `bad-weights`, `too-large`, `upload-cut`, or `conflict` while another one is coming
   */
  async receive(
    { preset, vocabSize, name }: z.infer<typeof importQuerySchema>,
    body: Readable,
    length: number | null,
  ): Promise<ImportRow> {
    const model = { ...PRESETS[preset], ...(vocabSize !== undefined && { vocabSize }) }
    const most = SAFETENSORS_PREFIX + MAX_SAFETENSORS_HEADER + 4 * parameterCount(model)
    if (length !== null && length > most) throw tooLarge(most)
    if (this.#receiving) throw new PotluckError('conflict', 'Another upload of weights is under way.', 409)
    this.#receiving = true
    const path = join(this.#parts.vaultDirectory, 'incoming', randomUUID())
    try {
      await this.#toDisk(body, path, most)
      const imported = await this.#parts.checkpoints.alone(() => this.#keep(path, { name, preset, model }))
      this.#parts.changed()
      return imported
    } finally {
      await rm(path, { force: true })
      this.#receiving = false
    }
  }

  async #toDisk(body: Readable, path: string, most: number): Promise<void> {
    const intake = new Intake(body, this.#parts.clock, LIMITS.uploadIdleSeconds)
    const file = await open(path, 'wx')
    try {
      let bytes = 0
      for (let next = await intake.next(); next !== 'ended'; next = await intake.next()) {
        if (typeof next === 'string')
          throw new PotluckError('upload-cut', 'The file broke off, or was too slow. Send it again.', 408)
        bytes += next.length
        if (bytes > most) throw tooLarge(most)
        await file.writeFile(next)
      }
    } finally {
      intake.close()
      await file.close()
    }
  }

  async #keep(
    path: string,
    { name, preset, model }: { name: string; preset: ImportRow['preset']; model: ModelConfig },
  ): Promise<ImportRow> {
    const { store, aggregator, clock } = this.#parts
    const { hash, largest } = await aggregator.readWeights({ path, model })
    const row = { hash, name, preset, vocabSize: model.vocabSize, at: clock.now() }
    await store.addImport({ ...row, largest })
    await this.#dropOldest()
    return row
  }

  async #dropOldest(): Promise<void> {
    const { store, vault } = this.#parts
    for (const { hash } of (await store.imports()).slice(LIMITS.imports)) {
      await store.dropImport(hash)
      if (!(await store.heldElsewhere({ run: '', store: 'vault', hash }))) await vault.delete(hash)
    }
  }
}

const tooLarge = (most: number) =>
  new PotluckError(
    'too-large',
    `Weights of this model are ${most} bytes at most, with the longest header.`,
    413,
  )
