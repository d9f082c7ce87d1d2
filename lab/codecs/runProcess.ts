/** The process that experiment.ts starts: simulates one run after another, and keeps what they share. */
import { type Corpus, type CorpusPlace, loadCorpus } from '../common/corpus.ts'
import { serve } from '../common/processes.ts'
import type { Checkpoint } from './replica.ts'
import { type Bench, openBench, type RunResult, simulate, warmUp } from './run.ts'
import type { Cell, Settings } from './settings.ts'

export interface RunTask {
  readonly place: CorpusPlace
  readonly settings: Settings
  readonly cell: Cell
  readonly seed: string
}

let corpus: Corpus | null = null
let bench: Bench | null = null
let warm: { seed: string; checkpoint: Checkpoint } | null = null

/** The host opens a process for one experiment: place and settings are the same in every task. */
async function play({ place, settings, cell, seed }: RunTask): Promise<RunResult> {
  corpus ??= await loadCorpus(place, settings.heldOutTokens)
  bench ??= await openBench(settings, corpus)
  if (warm?.seed !== seed) warm = { seed, checkpoint: await warmUp(bench, seed) }
  return simulate(bench, cell, seed, warm.checkpoint)
}

serve(play)
