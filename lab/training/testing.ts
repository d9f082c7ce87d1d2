/** For tests of the experiments: runs whose losses are a formula, and a folder for their files. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type SavedReport, SILENT } from '../common/report.ts'
import type { Spec } from './spec.ts'
import type { Surroundings } from './study.ts'

export interface Tried {
  readonly report: SavedReport
  readonly specs: readonly Spec[]
}

/** @throws Error when a file that the experiment wrote has a number that is none */
export async function tryOut(
  experiment: (flags: string[], around: Surroundings) => Promise<SavedReport>,
  flags: readonly string[],
  lossOf: (spec: Spec) => number,
): Promise<Tried> {
  const folder = await mkdtemp(join(tmpdir(), 'potluck-lab-test-'))
  const specs: Spec[] = []
  const run = async (spec: Spec) => {
    specs.push(spec)
    return { loss: lossOf(spec) }
  }
  try {
    const open = async () => ({ run, close: () => undefined })
    const report = await experiment([...flags, '--out', folder], { voice: SILENT, open })
    for (const name of await readdir(folder)) {
      const text = await readFile(join(folder, name), 'utf8')
      if (/NaN|undefined|Infinity/.test(text)) throw new Error(`${name} has a hole.`)
    }
    return { report, specs }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** 0 where both are the same, and more the further apart they are. */
export const away = (value: number, best: number): number => Math.log2(value / best) ** 2
