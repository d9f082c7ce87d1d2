/** A checkpoint as a command line names it: `<run>/<round>`, or `<run>` for its newest; `latest` is the newest run. */
import { PotluckError } from '../../shared/protocol/errors.ts'
import type { CheckpointRecord, MetadataStore, RunRecord } from '../store/metadata.ts'

export interface Target {
  readonly record: RunRecord
  readonly checkpoint: CheckpointRecord
}

/** @throws PotluckError `bad-request` for what is no name, `not-found` with what there is. */
export async function findTarget(
  store: Pick<MetadataStore, 'run' | 'latestRun' | 'checkpoints'>,
  name: string,
): Promise<Target> {
  const [, run, round] = /^([A-Za-z0-9_-]+)(?:\/(\d{1,9}))?$/.exec(name) ?? []
  if (run === undefined)
    throw new PotluckError('bad-request', `"${name}" names no checkpoint; write <run> or <run>/<round>.`)
  const record = run === 'latest' ? await store.latestRun() : await store.run(run)
  if (!record) throw new PotluckError('not-found', `There is no run ${run}.`, 404)
  const kept = await store.checkpoints(record.id)
  const checkpoint = round === undefined ? kept.at(-1) : kept.find((one) => one.round === Number(round))
  if (checkpoint) return { record, checkpoint }
  const rounds = kept.map((one) => one.round).join(', ')
  const what = round === undefined ? 'no checkpoint yet' : `no checkpoint of round ${round}`
  const others = rounds === '' ? '' : ` Rounds with one: ${rounds}.`
  throw new PotluckError('not-found', `The run ${record.id} has ${what}.${others}`, 404)
}
