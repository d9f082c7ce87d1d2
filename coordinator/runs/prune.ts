/**
 * Frees what old rounds leave on disk. The newest rounds keep everything, so that anyone can recompute their outer
 * steps; of older ones the record with its hashes stays and the bytes go. The untrained weights stay, and so do deltas
 * for as long as they are a way to the newest weights. Equal bytes are one blob: what anything still needs stays.
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
  /** As it is when it is asked for. */
  readonly machine: () => Machine | null
  readonly initialWeights: readonly string[]
  /** Contributions that are coming. */
  readonly comes: (hash: string) => boolean
  /** The round that was just closed. */
  readonly round: number
  /** Of its fragment, the deltas that no longer lead anywhere. */
  readonly droppedDeltas: readonly string[]
}

export async function pruneRound(parts: PruneParts): Promise<void> {
  const { store, machine, round, droppedDeltas } = parts
  const now = machine()
  if (now === null) return
  await free(parts, 'blobs', droppedDeltas)
  const old = await store.roundBlobs(now.run, round - KEPT_ROUNDS * now.config.fragments)
  if (!old) return
  await free(parts, 'blobs', [old.weightsBefore])
  await free(parts, 'vault', [old.exactBefore, old.velocityBefore, ...old.contributions])
}

async function free(
  parts: PruneParts,
  from: 'blobs' | 'vault',
  hashes: readonly (string | null)[],
): Promise<void> {
  for (const hash of hashes) {
    const machine = parts.machine()
    if (hash === null || machine === null || isNeeded(hash, machine, parts)) continue
    await parts[from].delete(hash)
  }
}

function isNeeded(hash: string, { fragments, accepted }: Machine, parts: PruneParts): boolean {
  const standing = fragments.flatMap(({ base, deltas }) => [
    base.weights,
    base.exact,
    base.velocity,
    ...deltas.map((delta) => delta.hash),
  ])
  const counted = Object.values(accepted).some((contribution) => contribution.hash === hash)
  return standing.includes(hash) || counted || parts.comes(hash) || parts.initialWeights.includes(hash)
}
