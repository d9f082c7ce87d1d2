/**
 * The door to the aggregation thread: heavy arithmetic over whole models never runs on the coordinator's event
 * loop. One thread, so that two merges never hold two models' worth of memory.
 */
import type { ModelConfig } from '../../shared/model/config.ts'
import type { RejectionReason } from '../../shared/protocol/run.ts'
import type { Merge } from '../rounds/machine.ts'
import type { Machine } from '../rounds/state.ts'
import { startThread } from '../threads.ts'
import type { CheckTask, Folders, InitialTask } from './tasks.ts'

export interface Aggregator {
  /** Null when the stored contribution may count; else why not. */
  check(task: Omit<CheckTask, 'folders'>): Promise<RejectionReason | null>
  merge(merge: Merge): Promise<Machine['base']>
  initial(config: ModelConfig, seed: string): Promise<Machine['base']>
  close(): Promise<void>
}

export function startAggregator(folders: Folders): Aggregator {
  const thread = startThread(new URL('./thread.js', import.meta.url))
  return {
    check: (task) => thread.run({ folders, ...task } satisfies CheckTask, { name: 'check' }),
    merge: (merge) => thread.run({ folders, merge }, { name: 'merge' }),
    initial: (config, seed) =>
      thread.run({ folders, config, seed } satisfies InitialTask, { name: 'initial' }),
    close: () => thread.destroy(),
  }
}
