/**
 * Frees what old rounds leave on disk. The newest rounds keep everything, so that anyone can recompute their outer
 * steps; of older ones the record with its hashes stays and the bytes go. The untrained weights stay.
 */
import type { BlobStore } from '../store/blobs.ts'
import type { MetadataStore } from '../store/metadata.ts'

/** Rounds whose weights, velocity and contributions are kept. */
const KEPT_ROUNDS = 3

export async function pruneRound(parts: {
  store: MetadataStore
  blobs: BlobStore
  vault: BlobStore
  run: string
  round: number
}): Promise<void> {
  const { store, blobs, vault, run, round } = parts
  const old = await store.roundBlobs(run, round - KEPT_ROUNDS)
  if (!old) return
  if (!old.first) await blobs.delete(old.weightsBefore)
  if (old.velocityBefore !== null) await vault.delete(old.velocityBefore)
  for (const hash of old.contributions) await vault.delete(hash)
}
