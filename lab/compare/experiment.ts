/**
 * `npm run lab -- compare`: data parallelism, a gradient of the whole batch each step, against DiLoCo with M = 1, 2, 4, 8,
 * at equal tokens and tuned rates, for every size of the ladder. `lab -- scaling` fits its laws to what this finds.
 */
import { parameterCount } from '../../shared/model/layout.ts'
import { chartOf } from '../common/chart.ts'
import type { SavedReport } from '../common/report.ts'
import type { Estimate } from '../common/statistics.ts'
import type { Table } from '../common/table.ts'
import { METHODS, type Method } from '../scaling/paper.ts'
import type { Point } from '../scaling/points.ts'
import {
  ABOUT,
  percentOf,
  runStudy,
  type Study,
  type Surroundings,
  signed,
  tunedAll,
} from '../training/study.ts'
import { rateFor, type Tuned, tunedSpec } from '../training/tune.ts'

interface Row {
  readonly method: Method
  readonly n: number
  readonly loss: Estimate
  /** Above data parallelism of the same size, as a share. */
  readonly penalty: number
  readonly tuned: Tuned
}

export const compareMethods = (flags: string[], around: Surroundings = {}): Promise<SavedReport> =>
  runStudy('compare', flags, around, investigate)

async function investigate(study: Study) {
  const { scale, codec } = study
  const tuned = await tunedAll(study, METHODS)
  const cells = scale.models.flatMap((model) =>
    METHODS.flatMap((method, i) => (tuned[i] ? [{ model, method, tuned: tuned[i] }] : [])),
  )
  const losses = await Promise.all(
    cells.map((cell) => study.loss(tunedSpec(scale, cell.model, cell.tuned, codec))),
  )
  const found = cells.flatMap((cell, i) =>
    losses[i] ? [{ ...cell, n: parameterCount(cell.model), loss: losses[i] }] : [],
  )
  const rows: Row[] = found.map((cell) => {
    const parallel = found.find(({ n, method }) => n === cell.n && method === 'data parallel')
    return { ...cell, penalty: cell.loss.mean / (parallel?.loss.mean ?? Number.NaN) - 1 }
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
    data: { points: rows.map(pointOf) },
  }
}

/** Rates and batches that were only carried over say nothing about how they scale. */
function pointOf({ method, n, loss, tuned }: Row): Point {
  const isTuned = tuned.rates.some((one) => one.n === n)
  return { method, n, loss: loss.mean, rate: isTuned ? rateFor(tuned, n) : null, batch: null }
}

const lossTable = (rows: readonly Row[]): Table => ({
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
  columns: ['method', 'batch, sequences', 'outer rate', 'inner rates by N'],
  rows: tuned.map(({ replicas, batch, outerLearningRate, rates }) => [
    replicas === null ? 'data parallel' : `M=${replicas}`,
    batch,
    replicas === null ? null : outerLearningRate,
    rates.map(({ n, rate }) => `${n}: ${rate.toPrecision(3)}`).join(', '),
  ]),
})

function findingsOf(rows: readonly Row[]): string[] {
  const sizes = [...new Set(rows.map(({ n }) => n))]
  return METHODS.filter((method) => method !== 'data parallel').map((method) => {
    const penalties = sizes.map(
      (n) => rows.find((row) => row.n === n && row.method === method)?.penalty ?? Number.NaN,
    )
    return `${method} against data parallelism, from ${sizes[0]} to ${sizes.at(-1)} parameters: ${penalties.map((penalty) => signed(percentOf(1 + penalty, 1))).join(', ')}.`
  })
}

const x = { label: 'N, parameters', log: true }

const lossPlot = (rows: readonly Row[]): string =>
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

const penaltyPlot = (rows: readonly Row[]): string =>
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
