/** The manifest of a run's corpus: the embedded one is built, of an imported one only the manifest is made. */
import { manifestToBytes } from '../../shared/corpus/manifest.ts'
import { PotluckError } from '../../shared/protocol/errors.ts'
import { modelOf } from '../../shared/protocol/modelOf.ts'
import type { CorpusChoice, RunConfig } from '../../shared/protocol/run.ts'
import type { BlobStore } from '../store/blobs.ts'
import type { CorpusRecord, MetadataStore } from '../store/metadata.ts'
import { indexFromBytes, manifestOf } from './corpusIndex.ts'
import { prepareCorpus } from './prepare.ts'

export interface ManifestParts {
  readonly store: Pick<MetadataStore, 'corpora'>
  readonly blobs: BlobStore
  readonly blobDirectory: string
  readonly signal: AbortSignal
}

/** Hash of the manifest, a blob like all that it names. @throws PotluckError */
export async function manifestFor(config: RunConfig, parts: ManifestParts): Promise<string> {
  const { store, blobs, blobDirectory, signal } = parts
  const { vocabSize, sequenceLength } = modelOf(config)
  if (config.corpus === null) {
    const request = { blobDirectory, vocabSize, sequenceLength, seed: config.seed }
    return (await prepareCorpus(request, signal)).manifestHash
  }
  const { hash } = await findCorpus(store, config.corpus)
  const manifest = manifestOf(indexFromBytes(await blobs.get(hash)), sequenceLength)
  for (const shard of [...manifest.training, ...manifest.validation]) {
    if (!(await blobs.has(shard.hash)))
      throw new PotluckError(
        'bad-blob',
        `The corpus "${manifest.name}" has lost its shard ${shard.hash}. Import it again.`,
      )
  }
  return blobs.put(manifestToBytes(manifest))
}

/** @throws PotluckError `not-found`, or `bad-config` when it has another vocabulary than was asked for */
export async function findCorpus(
  store: Pick<MetadataStore, 'corpora'>,
  { id, vocabSize }: CorpusChoice,
): Promise<CorpusRecord> {
  const corpus = (await store.corpora()).find((one) => one.id === id)
  if (corpus === undefined) throw new PotluckError('not-found', `There is no corpus ${id}.`, 404)
  if (corpus.vocabSize === vocabSize) return corpus
  throw new PotluckError(
    'bad-config',
    `The corpus "${corpus.name}" has a vocabulary of ${corpus.vocabSize}, not ${vocabSize}.`,
  )
}
