/**
 * `npm run lab -- batch`: the global batch at equal tokens, for data parallelism and M = 1, 2, 4: where the optimum is and how
 * far from it one may go. The inner rate is scaled with the batch's root and tried on either side.
 */
import { parameterCount } from '../../shared/model/layout.ts'
import { chartOf } from '../common/chart.ts'
import type { SavedReport } from '../common/report.ts'
import type { Estimate } from '../common/statistics.ts'
import type { Table } from '../common/table.ts'
import type { Method } from '../scaling/paper.ts'
import { scannedSizes } from '../training/scale.ts'
import type { Spec } from '../training/spec.ts'
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

/** Times the tuned batch. */
const FACTORS = [1 / 2, 1, 2, 4, 8]
/** Powers of √2 about the scaled rate. */
const RATES = [-1, 0, 1]
/** Of the best loss: still as good. */
const TOLERANCE = 0.01

interface Row {
  readonly method: Method
  readonly n: number
  readonly batch: number
  readonly rate: number
  readonly loss: number
  readonly interval: Estimate['interval']
}

export const varyBatch = (flags: string[], around: Surroundings = {}): Promise<SavedReport> =>
  runStudy('batch', flags, around, investigate)

async function investigate(study: Study) {
  const { scale, codec } = study
  const methods = methodsUpTo(4)
  const tuned = await tunedAll(study, methods)
  const rows = await Promise.all(
    scannedSizes(scale, 2).flatMap((model) =>
      methods.flatMap((method, i) => {
        const settings = tuned[i]
        const base = settings && tunedSpec(scale, model, settings, codec)
        return base ? FACTORS.flatMap((factor) => rowOf(study, method, base, factor) ?? []) : []
      }),
    ),
  )
  return {
    title: 'The global batch',
    about: ABOUT(study),
    findings: findingsOf(rows),
    tables: [tableOf(rows)],
    plots: [...new Set(rows.map(({ n }) => n))].map((n) => plotOf(rows, n)),
    data: { rows },
  }
}

/** Null where M replicas cannot share the batch. */
function rowOf(study: Study, method: Method, base: Spec, factor: number): Promise<Row> | null {
  const batch = base.batch * factor
  if (!Number.isInteger(batch / (base.replicas ?? 1))) return null
  const specs = RATES.map((k) => {
    const scaled = base.innerLearningRate * Math.sqrt(factor) * 2 ** (k / 2)
    return { ...base, batch, innerLearningRate: Number(scaled.toPrecision(6)) }
  })
  const bestOf = async (): Promise<Row> => {
    const { spec, loss } = await study.best(specs)
    const n = parameterCount(base.model)
    return { method, n, batch, rate: spec.innerLearningRate, loss: loss.mean, interval: loss.interval }
  }
  return bestOf()
}

const tableOf = (rows: readonly Row[]): Table => ({
  id: 'batch',
  title: 'Validation loss by global batch',
  columns: ['N', 'method', 'batch, sequences', 'inner rate', 'loss'],
  rows: rows.map(({ n, method, batch, rate, loss }) => [n, method, batch, rate, loss]),
})

function findingsOf(rows: readonly Row[]): string[] {
  const groups = grouped(rows, ({ n, method }) => `${n} parameters, ${method}`)
  return [...groups].map(([name, own]) => {
    const best = own.reduce((least, one) => (one.loss < least.loss ? one : least))
    const good = own.filter(({ loss }) => loss <= best.loss * (1 + TOLERANCE)).map(({ batch }) => batch)
    const largest = own.reduce((most, one) => (one.batch > most.batch ? one : most))
    return `${name}: best at ${best.batch} sequences; within 1 % of that from ${Math.min(...good)} to ${Math.max(...good)}; at ${largest.batch}, ${signed(percentOf(largest.loss, best.loss))}.`
  })
}

const plotOf = (rows: readonly Row[], n: number) => ({
  id: `batch-${n}`,
  title: `Loss by batch, ${n} parameters`,
  svg: chartOf({
    title: `Validation loss by global batch, ${n} parameters`,
    x: { label: 'sequences', log: true },
    y: { label: 'nats per token' },
    series: methodsUpTo(4).map((method) => ({
      name: method,
      points: rows
        .filter((row) => row.n === n && row.method === method)
        .map(({ batch, loss, interval }) => ({ x: batch, y: loss, between: interval })),
    })),
  }),
})
