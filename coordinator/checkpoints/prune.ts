/** Frees what no rule keeps (RULES.md). What may go is decided by the pure functions here and in rules.ts. */
import type { Checkpoint, Machine } from '../rounds/state.ts'
import type { BlobStore } from '../store/blobs.ts'
import type { MetadataStore, RoundBlobs, RunFile } from '../store/metadata.ts'
import { keptCheckpoints, RECENT_ROUNDS } from './rules.ts'

type File = Pick<RunFile, 'store' | 'hash'>

export interface Standing {
  /** The run as it is now. */
  readonly machine: Machine
  /** That are kept. */
  readonly checkpoints: readonly Pick<Checkpoint, 'fragments'>[]
  /** What the newest rounds' outer steps were taken from. */
  readonly recent: readonly Omit<RoundBlobs, 'round'>[]
  /** Made by a merge that is not committed yet, or being measured. */
  readonly fresh: readonly File[]
}

const key = ({ store, hash }: File): string => `${store}/${hash}`

/** [K5] Those of `files` that nothing of the run needs. */
export function unneeded<F extends File>(files: readonly F[], standing: Standing): F[] {
  const needed = new Set(neededFiles(standing).map(key))
  return files.filter((file) => !needed.has(key(file)))
}

function neededFiles({ machine, checkpoints, recent, fresh }: Standing): File[] {
  const bases = [...machine.fragments.map(({ base }) => base), ...checkpoints.flatMap((one) => one.fragments)]
  const deltas = machine.fragments.flatMap((fragment) => fragment.deltas)
  const counted = [...machine.accepted.values()]
  const blobs = [
    ...bases.map(({ weights }) => weights),
    ...deltas.map(({ hash }) => hash),
    ...recent.map(({ weightsBefore }) => weightsBefore),
  ]
  const vault = [
    ...bases.flatMap(({ exact, velocity }) => [exact, velocity]),
    ...counted.map(({ hash, mean }) => mean ?? hash),
    ...recent.flatMap(({ exactBefore, velocityBefore, contributions }) => [
      exactBefore,
      velocityBefore,
      ...contributions,
    ]),
  ]
  return [
    ...blobs.map((hash) => ({ store: 'blobs' as const, hash })),
    ...vault.flatMap((hash) => (hash === null ? [] : { store: 'vault' as const, hash })),
    ...fresh,
  ]
}

/** Whether a file of the vault is a contribution, or a mean, that was accepted in the round under way. */
const counts = ({ accepted }: Machine, file: string): boolean =>
  Array.from(accepted.values()).some(({ hash, mean }) => (mean ?? hash) === file)

export interface PruneParts {
  readonly store: MetadataStore
  readonly blobs: BlobStore
  readonly vault: BlobStore
  /** As it is when it is asked for. */
  readonly machine: () => Machine | null
  readonly fresh: () => readonly File[]
  /** Contributions that are coming. */
  readonly comes: (hash: string) => boolean
}

/**
 * Drops the checkpoints that no rule keeps, then every file that nothing needs. Merges, roll-backs and downloads must
 * not begin meanwhile (K6). Repeating it is harmless.
 */
export async function prune(parts: PruneParts): Promise<void> {
  const { store, machine, fresh, comes } = parts
  const begun = machine()
  if (begun === null) return
  const { run, config } = begun
  const made = fresh() // before the checkpoints are read: what is committed meanwhile is in one of the two
  const all = await store.checkpoints(run)
  const kept = keptCheckpoints(all, config.checkpoints, config.fragments)
  const dropped = all.filter(({ round }) => !kept.has(round))
  if (dropped.length > 0) {
    await store.dropCheckpoints(
      run,
      dropped.map(({ round }) => round),
    )
  }
  const checkpoints = all.filter(({ round }) => kept.has(round))
  const newest = all.at(-1)?.round ?? 0
  const recent = await store.roundBlobs(run, newest - RECENT_ROUNDS * config.fragments)
  const standing = { machine: machine() ?? begun, checkpoints, recent, fresh: made }
  for (const file of unneeded(await store.files(run), standing)) {
    const now = machine()
    if (now?.run !== run) return
    if (file.store === 'vault' && (counts(now, file.hash) || comes(file.hash))) continue
    if (!(await store.heldElsewhere({ run, ...file }))) await parts[file.store].delete(file.hash)
    await store.forgetFile({ run, ...file })
  }
}
