/** The process that runHost.ts starts: simulates one run after another, and keeps what they share. */
import { type Corpus, loadCorpus } from './data.ts'
import type { Checkpoint } from './replica.ts'
import { type Bench, openBench, type RunResult, simulate, warmUp } from './run.ts'
import type { RunAnswer, RunTask } from './runHost.ts'

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

const answer = (message: RunAnswer) => void process.send?.(message)

process.on('message', (task: RunTask) => {
  play(task).then(
    (result) => answer({ result }),
    (error: unknown) =>
      answer({ failed: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  )
})
process.on('disconnect', () => process.exit()) // the experiment is gone, in mid-run perhaps
