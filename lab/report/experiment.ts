/**
 * `npm run lab -- report [--from folder]`: one static HTML page, index.html, of everything that experiments have left in a
 * folder. Reads their JSON and SVG; what is neither is passed over by name.
 */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { PotluckError } from '../../shared/protocol/errors.ts'
import { OUT, readOptions } from '../common/options.ts'
import { plotFile, reportSchema, type SavedReport, TERMINAL, type Voice } from '../common/report.ts'
import { pageOf, type Section } from './page.ts'

const EXTRAS = { from: { type: 'string', schema: z.string().min(1).default(OUT) } } as const

/** In the order of the story; what is not named comes last. */
const ORDER = [
  'compare',
  'scaling',
  'scaling-paper',
  'batch',
  'outer-lr',
  'h',
  'overtrain',
  'robust',
  'network',
  'swarm',
]

export async function makeReport(
  flags: string[],
  { say, tell }: Voice = TERMINAL,
): Promise<{ page: string; experiments: string[] }> {
  const options = readOptions('report', flags, EXTRAS)
  // Without --out the page goes beside what it shows.
  const out = flags.includes('--out') ? options.out : options.from
  const reports = await reportsIn(options.from, tell)
  if (reports.length === 0) {
    throw new PotluckError(
      'not-found',
      `There are no reports in ${options.from}. Run an experiment first, for instance \`npm run lab -- network\`.`,
    )
  }
  const sections = await Promise.all(reports.map((report) => sectionOf(report, options.from)))
  await mkdir(out, { recursive: true })
  const page = join(out, 'index.html')
  await writeFile(page, pageOf(sections))
  say(`${reports.length} experiments are shown in ${page}.`)
  return { page, experiments: reports.map(({ experiment }) => experiment) }
}

async function reportsIn(folder: string, tell: (text: string) => void): Promise<SavedReport[]> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw error
  })
  const reports: SavedReport[] = []
  for (const name of names.filter((one) => one.endsWith('.json')).sort()) {
    const report = parsed(await readFile(join(folder, name), 'utf8'))
    if (report && name === `${report.experiment}.json`) reports.push(report)
    else tell(`${name} is no report; it is passed over.`)
  }
  const place = ({ experiment }: SavedReport) => {
    const index = ORDER.indexOf(experiment)
    return index < 0 ? ORDER.length : index
  }
  return reports.sort((one, other) => place(one) - place(other))
}

function parsed(text: string): SavedReport | null {
  try {
    return reportSchema.parse(JSON.parse(text))
  } catch {
    return null
  }
}

async function sectionOf(report: SavedReport, folder: string): Promise<Section> {
  const plots = new Map<string, string>()
  for (const { id } of report.plots) {
    const svg = await readFile(join(folder, plotFile(report.experiment, id)), 'utf8').catch(() => '')
    if (isPlain(svg)) plots.set(id, svg)
  }
  return { report, plots }
}

/** A drawing and nothing that runs or is fetched. */
const isPlain = (svg: string): boolean =>
  svg.startsWith('<svg ') && !/<script|<foreignObject|\son\w+=|href=|url\(/i.test(svg)
