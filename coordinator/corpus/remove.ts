/**
 * Takes an imported corpus out of the data folder, unless a run still needs it. Its tokenizer stays: the checkpoints of
 * earlier runs are read with it.
 */
import { PotluckError } from '../../shared/protocol/errors.ts'
import type { BlobStore } from '../store/blobs.ts'
import type { CorpusRecord, MetadataStore } from '../store/metadata.ts'
import { type CorpusIndex, indexFromBytes } from './corpusIndex.ts'

/** @throws PotluckError `not-found`, or `run-state` while a run trains on it. */
export async function removeCorpus(
  id: string,
  store: Pick<MetadataStore, 'corpora' | 'dropCorpus' | 'latestRun'>,
  blobs: BlobStore,
): Promise<CorpusRecord> {
  const all = await store.corpora()
  const corpus = all.find((one) => one.id === id)
  if (corpus === undefined) throw new PotluckError('not-found', `There is no corpus ${id}.`, 404)
  const run = await store.latestRun()
  const over = run?.status === 'failed' || ['completed', 'ended'].includes(run?.machine?.status ?? '')
  if (run?.config.corpus?.id === id && !over)
    throw new PotluckError('run-state', `The run "${run.config.name}" trains on it. End it first.`, 409)
  const others = await Promise.all(all.filter((one) => one.id !== id).map(({ hash }) => namedBy(hash, blobs)))
  const needed = new Set(others.flat())
  const doomed = await namedBy(corpus.hash, blobs)
  await store.dropCorpus(id)
  for (const hash of doomed) if (!needed.has(hash)) await blobs.delete(hash)
  return corpus
}

/** An index that is gone or damaged names nothing more. */
async function namedBy(hash: string, blobs: BlobStore): Promise<string[]> {
  const index: CorpusIndex | null = await blobs.get(hash).then(indexFromBytes, () => null)
  const shards = index === null ? [] : [...index.training, ...index.validation].map((shard) => shard.hash)
  return [hash, ...shards]
}
