/**
 * `npm run lab -- overtrain`: 1, 4 and 16 times the tokens, without tuning again, for data parallelism and M = 1, 2, 4.
 * The paper's curves of loss against compute stay parallel.
 */
import { flopsPerToken } from '../../shared/model/flops.ts'
import { parameterCount } from '../../shared/model/layout.ts'
import { chartOf } from '../common/chart.ts'
import type { SavedReport } from '../common/report.ts'
import type { Estimate } from '../common/statistics.ts'
import type { Table } from '../common/table.ts'
import type { Method } from '../scaling/paper.ts'
import { scannedSizes } from '../training/scale.ts'
import {
  ABOUT,
  grouped,
  methodsUpTo,
  percentOf,
  runStudy,
  type Study,
  type Surroundings,
  signed,
  tunedAll,
} from '../training/study.ts'
import { tunedSpec } from '../training/tune.ts'

const TIMES = [1, 4, 16]
const METHODS = methodsUpTo(4)

interface Row {
  readonly method: Method
  readonly n: number
  readonly times: number
  readonly flops: number
  readonly loss: Estimate
}

export const overtrain = (flags: string[], around: Surroundings = {}): Promise<SavedReport> =>
  runStudy('overtrain', flags, around, investigate)

async function investigate(study: Study) {
  const { scale, codec } = study
  const tuned = await tunedAll(study, METHODS)
  const rows = await Promise.all(
    scannedSizes(scale, 2).flatMap((model) =>
      METHODS.flatMap((method, i) => {
        const settings = tuned[i]
        if (!settings) return []
        const base = tunedSpec(scale, model, settings, codec)
        return TIMES.map(async (times): Promise<Row> => {
          const tokens = times * base.tokens
          // The long ones of one seed: they cost as much as all the rest.
          const spec = { ...base, tokens }
          const loss = times === 1 ? await study.loss(spec) : { mean: await study.scan(spec), interval: null }
          return { method, n: parameterCount(model), times, flops: tokens * flopsPerToken(model), loss }
        })
      }),
    ),
  )
  return {
    title: 'More tokens for the same model',
    about: `${ABOUT(study)} The corpus has 3.6 M tokens: what is more is trained again. More than the usual tokens are of the first seed alone.`,
    findings: findingsOf(rows),
    tables: [tableOf(rows)],
    plots: plotsOf(rows),
    data: { rows },
  }
}

const tableOf = (rows: readonly Row[]): Table => ({
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

function findingsOf(rows: readonly Row[]): string[] {
  const parallel = (row: Row) =>
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

const plotsOf = (rows: readonly Row[]) =>
  [...new Set(rows.map(({ n }) => n))].map((n) => ({
    id: `overtrain-${n}`,
    title: `Loss by compute, ${n} parameters`,
    svg: chartOf({
      title: `Validation loss by compute, ${n} parameters`,
      x: { label: 'FLOP', log: true },
      y: { label: 'nats per token', log: true },
      series: METHODS.map((method) => ({
        name: method,
        points: rows
          .filter((row) => row.n === n && row.method === method)
          .map(({ flops, loss }) => ({ x: flops, y: loss.mean, between: loss.interval })),
      })),
    }),
  }))
