/** The corpus in memory, and its sequences in the order in which leases name them. */
import { heldOutSequences } from '../../coordinator/evaluate/heldOut.ts'
import { emptyPool, take } from '../../coordinator/rounds/pool.ts'
import { openFileBlobStore } from '../../coordinator/store/fileBlobs.ts'
import { gatherTokens, sequencesInEpoch, sequencesOf } from '../../shared/corpus/epoch.ts'
import { type CorpusManifest, manifestFromBytes, type ShardEntry } from '../../shared/corpus/manifest.ts'
import { decodeShard } from '../../shared/corpus/shard.ts'

/** Where prepareCorpus has put it. */
export interface CorpusPlace {
  readonly folder: string
  readonly manifestHash: string
}

/** An epoch needs no more of the manifest than this. */
export interface Corpus {
  readonly manifest: Pick<CorpusManifest, 'training' | 'sequenceLength'>
  /** The training tokens, by their place in the manifest. */
  readonly shards: ReadonlyMap<number, Uint16Array>
  /** Validation sequences, the same ones every time. */
  readonly heldOut: Uint16Array
}

export async function loadCorpus(
  { folder, manifestHash }: CorpusPlace,
  heldOutTokens: number,
): Promise<Corpus> {
  const blobs = await openFileBlobStore(folder)
  const manifest = manifestFromBytes(await blobs.get(manifestHash))
  const read = async ({ hash, sequences }: ShardEntry) =>
    decodeShard(await blobs.get(hash), { ...manifest, sequences })
  const training = await Promise.all(manifest.training.map(read))
  const heldOut = await heldOutSequences(manifest, blobs, heldOutTokens)
  return { manifest, shards: new Map(training.entries()), heldOut }
}

/**
 * Leases one after another from the coordinator's own pool, so none names a sequence twice in an epoch. The first
 * `skipped` sequences are taken already. The function returned gives the tokens of the next `count` sequences.
 */
export function openLeases(corpus: Corpus, seed: string, skipped: number) {
  const perEpoch = sequencesInEpoch(corpus.manifest)
  let { pool } = take(emptyPool(), skipped, perEpoch)
  return (count: number): Uint16Array<ArrayBuffer> => {
    const taken = take(pool, count, perEpoch)
    pool = taken.pool
    const addresses = taken.ranges.flatMap((range) => sequencesOf(corpus.manifest, seed, range))
    return gatherTokens(addresses, corpus.shards, corpus.manifest.sequenceLength)
  }
}
