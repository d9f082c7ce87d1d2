/**
 * `npm run lab -- overtrain`: 1, 4 and 16 times the tokens, without tuning again, for data parallelism and M = 1, 2, 4.
 * The paper's curves of loss against compute stay parallel.
 */
import { flopsPerToken } from '../../shared/model/flops.ts'
import type { SavedReport } from '../common/report.ts'
import type { Estimate } from '../common/statistics.ts'
import type { Table } from '../common/table.ts'
import { scannedSizes } from '../training/scale.ts'
import { plotsBySize, type Row, scan } from '../training/scan.ts'
import {
  ABOUT,
  grouped,
  methodsUpTo,
  percentOf,
  runStudy,
  type Study,
  type Surroundings,
  signed,
} from '../training/study.ts'

const TIMES = [1, 4, 16]
const METHODS = methodsUpTo(4)

interface Found {
  readonly times: number
  readonly flops: number
  readonly loss: Estimate
}

export const overtrain = (flags: string[], around: Surroundings = {}): Promise<SavedReport> =>
  runStudy('overtrain', flags, around, investigate)

async function investigate(study: Study) {
  const rows = await scan(study, scannedSizes(study.scale, [0]), METHODS, (base) =>
    TIMES.map(async (times): Promise<Found> => {
      const tokens = times * base.tokens
      // The long ones of one seed: they cost as much as all the rest.
      const spec = { ...base, tokens }
      const loss = times === 1 ? await study.loss(spec) : { mean: await study.scan(spec), interval: null }
      return { times, flops: tokens * flopsPerToken(base.model), loss }
    }),
  )
  const look = { id: 'overtrain', by: 'compute', x: { label: 'FLOP', log: true }, y: { log: true } }
  return {
    title: 'More tokens for the same model',
    about: `${ABOUT(study)} The corpus has 3.6 M tokens: what is more is trained again. More than the usual tokens are of the first seed alone.`,
    findings: findingsOf(rows),
    tables: [tableOf(rows)],
    plots: plotsBySize(rows, look, ({ flops, loss }) => [{ x: flops, y: loss.mean, between: loss.interval }]),
    data: { rows },
  }
}

const tableOf = (rows: readonly (Row & Found)[]): Table => ({
  id: 'overtrain',
  title: 'Validation loss by tokens',
  columns: ['N', 'method', 'times the tokens', 'FLOP', 'loss', '95 % from', 'to'],
  rows: rows.map(({ n, method, times, flops, loss }) => [
    n,
    method,
    times,
    flops,
    loss.mean,
    loss.interval?.[0] ?? null,
    loss.interval?.[1] ?? null,
  ]),
})

function findingsOf(rows: readonly (Row & Found)[]): string[] {
  const parallel = (row: Row & Found) =>
    rows.find(({ n, times, method }) => n === row.n && times === row.times && method === 'data parallel')
  const groups = grouped(rows, ({ n, method }) => `${n} parameters, ${method}`)
  return [...groups]
    .filter(([name]) => !name.endsWith('data parallel'))
    .map(([name, own]) => {
      const parts = own.map(
        (row) => `${row.times}× ${signed(percentOf(row.loss.mean, parallel(row)?.loss.mean ?? Number.NaN))}`,
      )
      return `${name} against data parallelism: ${parts.join(', ')}.`
    })
}
