/**
 * `npm run lab -- codecs`: does DiLoCo still learn when pseudo-gradients go through each codec? The same run with every
 * codec, with and without error feedback, whole and in fragments, with and without overlap, from one warm checkpoint a
 * seed; every difference is taken between runs of one seed. What a run does is run.ts's.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { prepareCorpus } from '../../coordinator/corpus/prepare.ts'
import type { CorpusPlace } from '../common/corpus.ts'
import { inProcesses } from '../common/processes.ts'
import { keyOf, openCache } from './cache.ts'
import { type Options, readOptions } from './options.ts'
import { plotOf } from './plot.ts'
import { type FinishedRun, type Report, reportOf } from './report.ts'
import type { RunResult } from './run.ts'
import type { RunTask } from './runProcess.ts'
import { besideTheGrid, FULL, grid, QUICK, type Settings } from './settings.ts'
import { printReport } from './table.ts'

export async function measureCodecs(flags: string[], say = console.error): Promise<Report> {
  const options = readOptions(flags)
  const settings = options.quick ? QUICK : FULL
  const seeds = Array.from({ length: options.seeds }, (_, i) => String(i + 1))
  const runs = await runsOf(settings, seeds, options, say)
  const report = reportOf(settings, seeds, runs)
  await writeFile(options.out, plotOf(report))
  printReport(report)
  say(`The plot is in ${options.out}.`)
  return report
}

const RUN_PROCESS = new URL('./runProcess.ts', import.meta.url)

/** The grid first, seed after seed, so that what is there after an interruption is whole. */
async function runsOf(
  settings: Settings,
  seeds: readonly string[],
  { cache: path, jobs }: Options,
  say: (text: string) => void,
): Promise<FinishedRun[]> {
  const cache = await openCache(path)
  const wanted = [grid(), besideTheGrid()].flatMap((cells) =>
    seeds.flatMap((seed) => cells.map((cell) => ({ cell, seed }))),
  )
  const missing = wanted.filter(({ cell, seed }) => cache.get(keyOf(settings, cell, seed)) === undefined)
  say(`${wanted.length} runs, ${wanted.length - missing.length} of them finished before.`)
  let left = missing.length
  const keep = async ({ cell, seed }: RunTask, result: RunResult) => {
    await cache.put(keyOf(settings, cell, seed), result)
    say(
      `${--left} left. ${nameOf({ cell, seed })}: ${result.valLoss.toFixed(4)} nats, ${result.seconds.toFixed(1)} s`,
    )
  }
  if (missing.length > 0) {
    await withCorpus(settings, (place) =>
      inProcesses(
        RUN_PROCESS,
        missing.map(({ cell, seed }) => ({ place, settings, cell, seed })),
        jobs,
        keep,
      ),
    )
  }
  return wanted.map(({ cell, seed }) => {
    const result = cache.get(keyOf(settings, cell, seed))
    if (result === undefined) throw new Error('internal: a run is neither known nor done')
    return { cell, seed, result }
  })
}

function nameOf({ cell, seed }: Pick<RunTask, 'cell' | 'seed'>): string {
  const { codec, decay, fragments, overlap, outer, twin } = cell
  const words = [codec, `decay ${decay}`, `P=${fragments}`, overlap && 'overlap', outer, twin && 'twin']
  return [`seed ${seed}`, ...words.filter((word) => word !== false)].join(', ')
}

/** The corpus is the same for all seeds; what a seed changes is the order of its sequences. */
async function withCorpus(settings: Settings, use: (place: CorpusPlace) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'potluck-lab-'))
  const { vocabSize, sequenceLength } = settings.model
  try {
    const { manifestHash } = await prepareCorpus({
      blobDirectory: folder,
      vocabSize,
      sequenceLength,
      seed: 'codecs',
    })
    await use({ folder, manifestHash })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
