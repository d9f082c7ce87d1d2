/**
 * `npm run lab -- network`: how long training takes and how much of it is waiting for bytes. The paper's idealised
 * wall-clock model and its table of compute utilisation, then the same with our codecs, fragments, overlap and groups,
 * between data centres and for volunteers at home. Nothing is trained: it is arithmetic, and takes no time.
 */
import { z } from 'zod'
import { readOptions } from '../common/options.ts'
import { publish, type SavedReport, TERMINAL, type Voice } from '../common/report.ts'
import { homePlots, homeTables } from './homeTables.ts'
import { utilisationFindings, utilisationTables } from './utilisationTables.ts'
import { wallClockPlots, wallClockTable } from './wallClockTables.ts'

const EXTRAS = {
  /** FLOP/s, in 10^12, that a volunteer's device sustains. */
  teraflops: { type: 'string', schema: z.coerce.number().positive().default(2) },
} as const

export function modelNetworks(flags: string[], voice: Voice = TERMINAL): Promise<SavedReport> {
  const { out, quick, teraflops } = readOptions('network', flags, EXTRAS)
  const report = {
    experiment: 'network',
    title: 'Time and bandwidth',
    about:
      'The paper’s idealised wall-clock model (appendix A) and its simulated compute utilisation (table 6), and both carried over to volunteers at home. Models, not measurements.',
    command: 'npm run lab -- network',
    quick,
    findings: utilisationFindings(),
    tables: [wallClockTable(), ...utilisationTables(), ...homeTables(teraflops)],
    plots: [...wallClockPlots(), ...homePlots(teraflops)],
  }
  return publish(report, out, voice)
}
