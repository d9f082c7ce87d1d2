/**
 * `npm run lab -- batch`: the global batch at equal tokens, for data parallelism and M = 1, 2, 4: where the optimum is and how
 * far from it one may go. The inner rate is scaled with the batch's root and tried on either side.
 */
import type { SavedReport } from '../common/report.ts'
import type { Estimate } from '../common/statistics.ts'
import type { Table } from '../common/table.ts'
import { SURE_SIZE, scannedSizes } from '../training/scale.ts'
import { plotsBySize, type Row, scan } from '../training/scan.ts'
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
} from '../training/study.ts'

/** Times the tuned batch. */
const FACTORS = [1 / 2, 1, 2, 4, 8]
/** Powers of √2 about the scaled rate. */
const RATES = [-1, 0, 1]
/** Of the best loss: still as good. */
const TOLERANCE = 0.01

interface Found {
  readonly batch: number
  readonly rate: number
  readonly loss: number
  readonly interval: Estimate['interval']
}

export const varyBatch = (flags: string[], around: Surroundings = {}): Promise<SavedReport> =>
  runStudy('batch', flags, around, investigate)

async function investigate(study: Study) {
  const rows = await scan(study, scannedSizes(study.scale, [SURE_SIZE]), methodsUpTo(4), (base) =>
    FACTORS.flatMap((factor) => foundWith(study, base, factor) ?? []),
  )
  const look = { id: 'batch', by: 'global batch', x: { label: 'sequences', log: true } }
  return {
    title: 'The global batch',
    about: ABOUT(study),
    findings: findingsOf(rows),
    tables: [tableOf(rows)],
    plots: plotsBySize(rows, look, ({ batch, loss, interval }) => [{ x: batch, y: loss, between: interval }]),
    data: { rows },
  }
}

/** Null where M replicas cannot share the batch. */
function foundWith(study: Study, base: Spec, factor: number): Promise<Found> | null {
  const batch = base.batch * factor
  if (!Number.isInteger(batch / (base.replicas ?? 1))) return null
  const specs = RATES.map((k) => {
    const scaled = base.innerLearningRate * Math.sqrt(factor) * 2 ** (k / 2)
    return { ...base, batch, innerLearningRate: Number(scaled.toPrecision(6)) }
  })
  const bestOf = async (): Promise<Found> => {
    const { spec, loss } = await study.best(specs)
    return { batch, rate: spec.innerLearningRate, loss: loss.mean, interval: loss.interval }
  }
  return bestOf()
}

const tableOf = (rows: readonly (Row & Found)[]): Table => ({
  id: 'batch',
  title: 'Validation loss by global batch',
  columns: ['N', 'method', 'batch, sequences', 'inner rate', 'loss'],
  rows: rows.map(({ n, method, batch, rate, loss }) => [n, method, batch, rate, loss]),
})

function findingsOf(rows: readonly (Row & Found)[]): string[] {
  const groups = grouped(rows, ({ n, method }) => `${n} parameters, ${method}`)
  return [...groups].map(([name, own]) => {
    const best = own.reduce((least, one) => (one.loss < least.loss ? one : least))
    const good = own.filter(({ loss }) => loss <= best.loss * (1 + TOLERANCE)).map(({ batch }) => batch)
    const largest = own.reduce((most, one) => (one.batch > most.batch ? one : most))
    return `${name}: best at ${best.batch} sequences; within 1 % of that from ${Math.min(...good)} to ${Math.max(...good)}; at ${largest.batch}, ${signed(percentOf(largest.loss, best.loss))}.`
  })
}
