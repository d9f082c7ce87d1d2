/** What a run starts from: whether the weights fit its config (W1), what it takes of them (W2), and the bases it makes. */
import { isDeepStrictEqual } from 'node:util'
import { parameterCount } from '../../shared/model/layout.ts'
import { PotluckError } from '../../shared/protocol/errors.ts'
import { modelOf } from '../../shared/protocol/modelOf.ts'
import type { RunConfig } from '../../shared/protocol/run.ts'
import type { Aggregator } from '../aggregate/aggregator.ts'
import type { Checkpoint, FragmentBase } from '../rounds/state.ts'
import type { BlobStore } from '../store/blobs.ts'
import type { ImportRecord, RunRecord, StartingPoint } from '../store/metadata.ts'

export interface CheckpointStart {
  readonly record: Pick<RunRecord, 'id' | 'config'>
  readonly checkpoint: Checkpoint
  readonly moments: 'carried' | 'zero'
}

/** @throws PotluckError `bad-start` when it is another model */
export function startFromCheckpoint(
  { record, checkpoint, moments }: CheckpointStart,
  config: RunConfig,
): StartingPoint {
  if (!isDeepStrictEqual(modelOf(record.config), modelOf(config)))
    throw misfit(`the checkpoint is of the model ${record.config.preset}, the run of ${config.preset}`)
  const { round, fragments, pool } = checkpoint
  const carried = (base: FragmentBase) =>
    moments === 'carried' ? base : { ...base, exact: null, velocity: null }
  const sameOrder = record.config.seed === config.seed && record.config.corpus?.id === config.corpus?.id
  return {
    kind: 'checkpoint',
    run: record.id,
    round,
    fragments: fragments.map(carried),
    pool: sameOrder ? pool : null,
  }
}

/** @throws PotluckError `bad-start` when it is another model */
export function startFromImport(
  { hash, name, preset, vocabSize, largest }: ImportRecord,
  config: RunConfig,
): StartingPoint {
  const model = modelOf(config)
  if (preset !== config.preset || vocabSize !== model.vocabSize)
    throw misfit(
      `the weights are of ${preset} with ${vocabSize} tokens, the run of ${config.preset} with ${model.vocabSize}`,
    )
  return { kind: 'import', hash, name, parameters: parameterCount(model), largest }
}

const misfit = (what: string) =>
  new PotluckError('bad-start', `This run cannot start from these weights: ${what}.`, 409)

export interface StartParts {
  readonly aggregator: Pick<Aggregator, 'initial' | 'regroup'>
  readonly blobs: Pick<BlobStore, 'verify'>
}

/** The first weights of a run, a base for each of its fragments. @throws PotluckError `not-found`, `bad-blob` */
export async function firstBases(
  { aggregator, blobs }: StartParts,
  config: RunConfig,
  start: StartingPoint | null,
): Promise<FragmentBase[]> {
  const model = modelOf(config)
  const count = config.fragments
  if (start === null) return aggregator.initial(model, config.seed, count)
  if (start.kind === 'import') {
    const from = [{ store: 'vault' as const, hash: start.hash }]
    const made = await aggregator.regroup({ model, from, to: { store: 'blobs', fragments: count } })
    return made.map(({ hash, ...rest }) => ({ ...rest, weights: hash, exact: null, velocity: null }))
  }
  const { fragments } = start
  if (fragments.length === count) {
    for (const { weights } of fragments) await blobs.verify(weights)
    return fragments
  }
  const regroup = (from: Parameters<Aggregator['regroup']>[0]['from'], store: 'blobs' | 'vault') =>
    aggregator.regroup({ model, from, to: { store, fragments: count } })
  const publicOf = ({ weights }: FragmentBase) => ({ store: 'blobs' as const, hash: weights })
  const vaultOf = (hash: string | null) => ({ store: 'vault' as const, hash })
  const weights = await regroup(fragments.map(publicOf), 'blobs')
  const hasExact = fragments.some(({ exact }) => exact !== null)
  const hasVelocity = fragments.some(({ velocity }) => velocity !== null)
  const exact = hasExact
    ? await regroup(
        fragments.map((base) => (base.exact === null ? publicOf(base) : vaultOf(base.exact))),
        'vault',
      )
    : null
  const velocity = hasVelocity
    ? await regroup(
        fragments.map((base) => vaultOf(base.velocity)),
        'vault',
      )
    : null
  return weights.map(({ hash, ...rest }, index) => ({
    ...rest,
    weights: hash,
    exact: exact?.[index]?.hash ?? null,
    velocity: velocity?.[index]?.hash ?? null,
  }))
}
