/** What an experiment has found, as files: JSON for `lab -- report`, a CSV for each table, an SVG for each plot. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { csvOf, type Table, textOf } from './table.ts'

const cell = z.union([z.string(), z.number(), z.null()])
const tableSchema = z.strictObject({
  id: z.string().regex(/^[a-z0-9-]+$/),
  title: z.string(),
  columns: z.array(z.string()),
  rows: z.array(z.array(cell)),
  note: z.string().optional(),
})
const plotSchema = z.strictObject({ id: z.string().regex(/^[a-z0-9-]+$/), title: z.string() })

export const reportSchema = z.strictObject({
  experiment: z.string().regex(/^[a-z0-9-]+$/),
  title: z.string(),
  /** What was asked, and how. */
  about: z.string(),
  command: z.string(),
  quick: z.boolean(),
  /** Sentences. */
  findings: z.array(z.string()),
  tables: z.array(tableSchema),
  plots: z.array(plotSchema),
  /** Anything else that the experiment wants kept. */
  data: z.unknown(),
})
export type SavedReport = z.infer<typeof reportSchema>

export interface Report extends Omit<SavedReport, 'tables' | 'plots' | 'data'> {
  readonly tables: readonly Table[]
  readonly plots: readonly { readonly id: string; readonly title: string; readonly svg: string }[]
  readonly data?: unknown
}

export const plotFile = (experiment: string, plot: string): string => `${experiment}-${plot}.svg`

/** Writes the files, says tables and findings, and returns what the JSON has. */
export async function publish(
  report: Report,
  folder: string,
  { say, tell }: { say: (text: string) => void; tell: (text: string) => void },
): Promise<SavedReport> {
  await mkdir(folder, { recursive: true })
  const { experiment } = report
  const plots = report.plots.map(({ id, title }) => ({ id, title }))
  const saved = reportSchema.parse({ ...report, plots, data: report.data ?? null })
  for (const table of report.tables) {
    await writeFile(join(folder, `${experiment}-${table.id}.csv`), csvOf(table))
    say(`${textOf(table)}\n`)
  }
  for (const { id, svg } of report.plots) await writeFile(join(folder, plotFile(experiment, id)), svg)
  await writeFile(join(folder, `${experiment}.json`), `${JSON.stringify(saved, null, 1)}\n`)
  for (const finding of report.findings) say(finding)
  tell(`JSON, CSV and SVG are in ${folder}/${experiment}*.`)
  return saved
}

/** To a terminal: results to stdout, the rest beside it. */
export const TERMINAL = { say: console.log, tell: console.error }
export const SILENT = { say: () => undefined, tell: () => undefined }
export type Voice = typeof TERMINAL | typeof SILENT
