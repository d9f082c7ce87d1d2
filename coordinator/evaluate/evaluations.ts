/**
 * Evaluations of a run: which weights are measured, by whom, and that the result is kept with the hashes of what was
 * measured. The coordinator's own process is evaluator.ts's, what volunteers measure volunteers.ts's.
 */
import type { ModelConfig } from '../../shared/model/config.ts'
import type { MetadataStore, RunRecord } from '../store/metadata.ts'
import type { Evaluator } from './evaluator.ts'
import type { HeldOutSet } from './heldOut.ts'
import type { VolunteerEvaluator } from './volunteers.ts'
import { wayOf } from './way.ts'

export interface EvaluationParts {
  readonly store: Pick<MetadataStore, 'setHeldOut' | 'setTask'>
  readonly evaluator: Evaluator
  readonly volunteers: VolunteerEvaluator
  readonly now: () => number
}

interface Measured {
  readonly nats: number
  /** Volunteers write none. */
  readonly sample?: string
}

/** The global weights after a round. */
export interface Measurable {
  readonly record: Pick<RunRecord, 'id' | 'config' | 'manifest'>
  readonly model: ModelConfig
  readonly round: number
  readonly weights: readonly string[]
  /** Whether these are still the round's weights, and the run the one under way. */
  readonly isCurrent: () => boolean
}

export class Evaluations {
  readonly #parts: EvaluationParts
  /** Of the last corpus; made once, however many rounds wait for it. */
  #set: { readonly manifest: string; readonly heldOut: Promise<HeldOutSet> } | null = null

  constructor(parts: EvaluationParts) {
    this.#parts = parts
  }

  /**
   * Measures the held-out loss and keeps it. Seconds that it took, waiting included; null when newer rounds took its
   * place or nobody wants it any more.
   * @throws PotluckError `evaluation-failed` and others, in words for the operator.
   */
  async heldOut({ record, model, round, weights, isCurrent }: Measurable): Promise<number | null> {
    const { store, evaluator, volunteers, now } = this.#parts
    if (record.manifest === null) return null
    const set = await this.#setOf(record.manifest)
    const by = wayOf(record.config.evaluation, model, evaluator)
    const begun = now()
    const { hash, sequences, tokens, bytes } = set
    const job = { config: model, weights, set: hash }
    const { id, config } = record
    const measured: Measured | null =
      by === 'coordinator'
        ? await evaluator.loss({ ...job, manifest: record.manifest, seed: config.seed }, isCurrent)
        : await volunteers.measure({ ...job, run: id, round, sequences })
    if (measured === null || !isCurrent()) return null
    const at = now()
    const seconds = (at - begun) / 1_000
    const { nats, sample = null } = measured
    const evaluation = { weights, data: hash, examples: sequences, by, seconds, at }
    await store.setHeldOut(id, round, { ...evaluation, nats, tokens, bytes, sample })
    return seconds
  }

  #setOf(manifest: string): Promise<HeldOutSet> {
    if (this.#set?.manifest === manifest) return this.#set.heldOut
    const set = { manifest, heldOut: this.#parts.evaluator.heldOut(manifest) }
    this.#set = set
    set.heldOut.catch(() => {
      if (this.#set === set) this.#set = null
    })
    return set.heldOut
  }
}
