/**
 * Frees what old rounds leave on disk. The newest rounds keep everything, so that anyone can recompute their outer
 * steps; of older ones the record with its hashes stays and the bytes go. The untrained weights stay, and so do deltas
 * for as long as they are a way to the newest weights.
 */
import type { Machine } from '../rounds/state.ts'
import type { BlobStore } from '../store/blobs.ts'
import type { MetadataStore } from '../store/metadata.ts'

/** Rounds of every fragment whose weights, velocity and contributions are kept. */
const KEPT_ROUNDS = 3

export interface PruneParts {
  readonly store: MetadataStore
  readonly blobs: BlobStore
  readonly vault: BlobStore
  readonly machine: Machine
  readonly initialWeights: readonly string[]
  /** The round that was just closed. */
  readonly round: number
  /** Of its fragment, the deltas that no longer lead anywhere. */
  readonly droppedDeltas: readonly string[]
}

export async function pruneRound(parts: PruneParts): Promise<void> {
  const { store, blobs, vault, machine, initialWeights, round, droppedDeltas } = parts
  for (const hash of droppedDeltas) await blobs.delete(hash)
  const old = await store.roundBlobs(machine.run, round - KEPT_ROUNDS * machine.config.fragments)
  if (!old) return
  if (!initialWeights.includes(old.weightsBefore)) await blobs.delete(old.weightsBefore)
  for (const hash of [old.exactBefore, old.velocityBefore]) if (hash !== null) await vault.delete(hash)
  for (const hash of old.contributions) await vault.delete(hash)
}
