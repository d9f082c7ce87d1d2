/** The manifest of a run's corpus: the embedded one is built once a folder, of an imported one only the manifest is made. */
import { type CorpusManifest, manifestFromBytes, manifestToBytes } from '../../shared/corpus/manifest.ts'
import { PotluckError } from '../../shared/protocol/errors.ts'
import { modelOf } from '../../shared/protocol/modelOf.ts'
import type { CorpusChoice, RunConfig } from '../../shared/protocol/run.ts'
import type { BlobStore } from '../store/blobs.ts'
import type { CorpusRecord, MetadataStore } from '../store/metadata.ts'
import { indexFromBytes, manifestOf } from './corpusIndex.ts'
import { prepareCorpus } from './prepare.ts'

export interface ManifestParts {
  readonly store: Pick<MetadataStore, 'corpora' | 'setting' | 'setSetting'>
  readonly blobs: BlobStore
  readonly blobDirectory: string
  readonly signal: AbortSignal
}

/** Hash of the manifest, a blob like all that it names. @throws PotluckError */
export async function manifestFor(config: RunConfig, parts: ManifestParts): Promise<string> {
  const { store, blobs } = parts
  if (config.corpus === null) return embedded(config, parts)
  const { sequenceLength } = modelOf(config)
  const { hash } = await findCorpus(store, config.corpus)
  const manifest = manifestOf(indexFromBytes(await blobs.get(hash)), sequenceLength)
  const lost = await lostOf(shardsOf(manifest), blobs)
  if (lost !== null)
    throw new PotluckError(
      'bad-blob',
      `The corpus "${manifest.name}" has lost its shard ${lost}. Import it again.`,
    )
  return blobs.put(manifestToBytes(manifest))
}

/** Building takes seconds and makes the same blobs again, so which ones they were is remembered. */
async function embedded(config: RunConfig, parts: ManifestParts): Promise<string> {
  const { store, blobs, blobDirectory, signal } = parts
  const { vocabSize, sequenceLength } = modelOf(config)
  const sizes = { vocabSize, sequenceLength, seed: config.seed }
  const key = `corpus/embedded/${JSON.stringify(Object.values(sizes))}`
  const known = await store.setting(key)
  if (known !== null && (await isWhole(known, blobs))) return known
  const { manifestHash } = await prepareCorpus({ blobDirectory, ...sizes }, signal)
  await store.setSetting(key, manifestHash)
  return manifestHash
}

async function isWhole(manifestHash: string, blobs: BlobStore): Promise<boolean> {
  if (!(await blobs.has(manifestHash))) return false
  const manifest = manifestFromBytes(await blobs.get(manifestHash))
  return (await lostOf([manifest.tokenizer, ...shardsOf(manifest)], blobs)) === null
}

const shardsOf = ({ training, validation }: CorpusManifest) =>
  [...training, ...validation].map(({ hash }) => hash)

/** The first that the store does not have; null when it has all. */
async function lostOf(hashes: readonly string[], blobs: BlobStore): Promise<string | null> {
  for (const hash of hashes) if (!(await blobs.has(hash))) return hash
  return null
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
