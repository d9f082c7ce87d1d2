/**
 * `npm run lab -- compare`: data parallelism, a gradient of the whole batch each step, against DiLoCo with M = 1, 2, 4, 8,
 * at equal tokens and tuned rates, for every size of the ladder. `lab -- scaling` fits its laws to what this finds.
 */
import { chartOf } from '../common/chart.ts'
import type { SavedReport } from '../common/report.ts'
import type { Estimate } from '../common/statistics.ts'
import type { Table } from '../common/table.ts'
import { METHODS } from '../scaling/paper.ts'
import type { Point } from '../scaling/points.ts'
import { type Row, scan } from '../training/scan.ts'
import {
  ABOUT,
  percentOf,
  replicasIn,
  runStudy,
  type Study,
  type Surroundings,
  signed,
  tunedAll,
} from '../training/study.ts'
import type { Tuned } from '../training/tune.ts'

interface Compared extends Row {
  readonly loss: Estimate
  /** Above data parallelism of the same size, as a share. */
  readonly penalty: number
}

export const compareMethods = (flags: string[], around: Surroundings = {}): Promise<SavedReport> =>
  runStudy('compare', flags, around, investigate)

async function investigate(study: Study) {
  const tuned = await tunedAll(study, METHODS)
  const found = await scan(study, study.scale.models, METHODS, (base) => [
    study.loss(base).then((loss) => ({ loss })),
  ])
  const rows: Compared[] = found.map((row) => {
    const parallel = found.find(({ n, method }) => n === row.n && method === 'data parallel')
    return { ...row, penalty: row.loss.mean / (parallel?.loss.mean ?? Number.NaN) - 1 }
  })
  return {
    title: 'Data parallelism and DiLoCo at equal tokens',
    about: ABOUT(study),
    findings: findingsOf(rows),
    tables: [lossTable(rows), tunedTable(tuned)],
    plots: [
      { id: 'loss', title: 'Loss by size', svg: lossPlot(rows) },
      { id: 'penalty', title: 'Penalty by size', svg: penaltyPlot(rows) },
    ],
    data: { points: rows.map((row) => pointOf(row, tuned)) },
  }
}

/** Rates and batches that were only carried over say nothing about how they scale. */
function pointOf({ method, n, loss }: Compared, tuned: readonly Tuned[]): Point {
  const settings = tuned.find(({ replicas }) => replicas === replicasIn(method))
  const rate = settings?.rates.find((one) => one.n === n)?.rate ?? null
  const batch = settings?.batches.find((one) => one.n === n)?.batch ?? null
  return { method, n, loss: loss.mean, rate, batch }
}

const lossTable = (rows: readonly Compared[]): Table => ({
  id: 'loss',
  title: 'Validation loss',
  columns: ['N', 'method', 'loss', '95 % from', 'to', 'against data parallel, %'],
  rows: rows.map(({ n, method, loss, penalty }) => [
    n,
    method,
    loss.mean,
    loss.interval?.[0] ?? null,
    loss.interval?.[1] ?? null,
    100 * penalty,
  ]),
})

const tunedTable = (tuned: readonly Tuned[]): Table => ({
  id: 'tuned',
  title: 'What was tuned, on the smallest sizes with one seed',
  columns: ['method', 'batches by N, sequences', 'outer rate', 'inner rates by N'],
  rows: tuned.map(({ replicas, batches, outerLearningRate, rates }) => [
    replicas === null ? 'data parallel' : `M=${replicas}`,
    batches.map(({ n, batch }) => `${n}: ${batch}`).join(', '),
    replicas === null ? null : outerLearningRate,
    rates.map(({ n, rate }) => `${n}: ${rate.toPrecision(3)}`).join(', '),
  ]),
})

function findingsOf(rows: readonly Compared[]): string[] {
  const sizes = [...new Set(rows.map(({ n }) => n))]
  return METHODS.filter((method) => method !== 'data parallel').map((method) => {
    const penalties = sizes.map(
      (n) => rows.find((row) => row.n === n && row.method === method)?.penalty ?? Number.NaN,
    )
    return `${method} against data parallelism, from ${sizes[0]} to ${sizes.at(-1)} parameters: ${penalties.map((penalty) => signed(percentOf(1 + penalty, 1))).join(', ')}.`
  })
}

const x = { label: 'N, parameters', log: true }

const lossPlot = (rows: readonly Compared[]): string =>
  chartOf({
    title: 'Validation loss by size',
    x,
    y: { label: 'nats per token' },
    series: METHODS.map((method) => ({
      name: method,
      points: rows
        .filter((row) => row.method === method)
        .map(({ n, loss }) => ({ x: n, y: loss.mean, between: loss.interval })),
    })),
  })

const penaltyPlot = (rows: readonly Compared[]): string =>
  chartOf({
    title: 'Loss above data parallelism',
    x,
    y: { label: '%' },
    series: METHODS.filter((method) => method !== 'data parallel').map((method) => ({
      name: method,
      hue: METHODS.indexOf(method),
      points: rows
        .filter((row) => row.method === method)
        .map(({ n, penalty }) => ({ x: n, y: 100 * penalty })),
    })),
  })
