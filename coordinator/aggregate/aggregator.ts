/**
 * The door to the aggregation threads: heavy arithmetic over whole models never runs on the coordinator's event
 * loop. Merges go one after another, each on as many threads as help it.
 */
import { availableParallelism } from 'node:os'
import { Piscina } from 'piscina'
import type { ModelConfig } from '../../shared/model/config.ts'
import type { RejectionReason } from '../../shared/protocol/run.ts'
import type { Checked, ContributionCheck } from './check.ts'
import { type Outcome, valueFrom } from './faults.ts'
import type { Folders, FragmentBase, FragmentMerge, Merged } from './fragment.ts'
import type { SliceHashes, SliceMean } from './means.ts'
import { MOST_THREADS } from './memory.ts'
import { type MergeHow, mergeFragment, threadsFor } from './merge.ts'
import type { PartResult } from './part.ts'
import type { WeightsFile } from './readWeights.ts'
import type { Regrouping, Values } from './regroup.ts'
import { Seals } from './seals.ts'
import type {
  ContributionTask,
  InitialFragmentsTask,
  JoinTask,
  MeanTask,
  RegroupTask,
  SliceHashesTask,
  WeightsTask,
} from './tasks.ts'

export type { ContributionCheck, Folders, FragmentBase, FragmentMerge, Merged }

export interface Aggregator {
  /** Null when the stored contribution may count; else why not. */
  check(check: ContributionCheck): Promise<RejectionReason | null>
  /** The same merge gives the same blobs. @throws PotluckError `not-found`, `bad-blob`, `bad-state` */
  merge(merge: FragmentMerge): Promise<Merged>
  /** Makes the untrained weights: one base a fragment, in the order of shared/model/layout.ts. */
  initial(config: ModelConfig, seed: string, fragments: number): Promise<FragmentBase[]>
  /** A model's values in other fragments. @throws PotluckError `not-found`, `bad-blob` */
  regroup(regrouping: Regrouping): Promise<Values[]>
  /** A safetensors file as a flat blob in the vault. @throws PotluckError `bad-weights` */
  readWeights(file: WeightsFile): Promise<Values>
  /** The mean of a slice, in the vault then; null when some of it is no slice. @throws `not-found` */
  sliceMean(mean: SliceMean): Promise<string | null>
  /** Blobs of the vault one after another, in the vault then. */
  join(hashes: readonly string[]): Promise<string>
  sliceHashes(of: SliceHashes): Promise<string[]>
  close(): Promise<void>
}

export interface AggregatorOptions {
  /** At most this many, up to 16; otherwise one a processor, up to four. */
  readonly threads?: number
  readonly kernel?: MergeHow['kernel']
  /** False: a merge hashes all that it reads, also what this process has seen whole before. */
  readonly seals?: boolean
  readonly onSpent?: MergeHow['onSpent']
}

/** Hashing is most of a merge, and four threads hash faster than disks read. */
const USUAL_THREADS = 4

export function startAggregator(folders: Folders, options: AggregatorOptions = {}): Aggregator {
  const { threads = Math.min(USUAL_THREADS, availableParallelism()), kernel, onSpent } = options
  const most = Math.min(MOST_THREADS, threads)
  const pool = startThreads(most)
  async function run<T>(name: string, task: object): Promise<T> {
    return valueFrom((await pool.run(task, { name })) as Outcome<T>) // what tasks.ts answers under that name
  }

  const seals = options.seals === false ? undefined : new Seals()
  async function checked(check: ContributionCheck): Promise<RejectionReason | null> {
    const { reason, seal } = await run<Checked>('contribution', { folders, check } satisfies ContributionTask)
    if (reason === null) seals?.set(check.hash, seal)
    return reason
  }

  const checking = new Map<string, Promise<RejectionReason | null>>()
  /** [U11] */
  function checkedOnce(check: ContributionCheck): Promise<RejectionReason | null> {
    const key = JSON.stringify(check)
    const running = checking.get(key) ?? checked(check).finally(() => checking.delete(key))
    checking.set(key, running)
    return running
  }

  // One merge at a time: the parts of two could hold all threads while waiting for each other's.
  let last: Promise<unknown> = Promise.resolve()
  function merged(merge: FragmentMerge): Promise<Merged> {
    const runPart: MergeHow['runPart'] = (job) => run<PartResult>('mergePart', job)
    const task = { folders, merge }
    const next = last.then(() =>
      mergeFragment(task, { threads: threadsFor(task, most), runPart, kernel, seals, onSpent }),
    )
    last = next.catch(() => undefined) // its own caller hears of it
    return next
  }

  return {
    check: checkedOnce,
    merge: merged,
    initial: (config, seed, fragments) =>
      run('untrained', { folders, config, seed, fragments } satisfies InitialFragmentsTask),
    regroup: (regrouping) => run('regrouped', { folders, regrouping } satisfies RegroupTask),
    readWeights: (file) => run('weights', { folders, file } satisfies WeightsTask),
    sliceMean: (mean) => run('mean', { folders, mean } satisfies MeanTask),
    join: (hashes) => run('together', { folders, hashes } satisfies JoinTask),
    sliceHashes: (of) => run('hashesOfSlices', { folders, of } satisfies SliceHashesTask),
    close: () => pool.destroy(),
  }
}

/** Kept for the process's life, as threads.ts does: what they have loaded stays loaded. */
function startThreads(threads: number): Piscina {
  return new Piscina({
    filename: new URL('./thread.js', import.meta.url).href,
    execArgv: [],
    minThreads: 1,
    maxThreads: threads,
    idleTimeout: Number.POSITIVE_INFINITY,
  })
}
