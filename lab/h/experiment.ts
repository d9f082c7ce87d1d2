/**
 * `npm run lab -- h`: how often replicas are brought together, H in {1, 5, 10, 30, 100, 300}, the outer rate tuned for each H.
 * The paper finds H = 1 the worst, and little lost with H above that.
 */
import type { SavedReport } from '../common/report.ts'
import type { Estimate } from '../common/statistics.ts'
import type { Table } from '../common/table.ts'
import { stepsOf } from '../training/plan.ts'
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
import { bestAlong } from '../training/tune.ts'

const STEPS = [1, 5, 10, 30, 100, 300]
/** The paper's grid; what is best for small H is below what is tuned for the usual one. */
const OUTER_RATES = [0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1]
const FIRST_FOR_SMALL = 0.1
const METHODS = methodsUpTo(4).filter((method) => method !== 'data parallel')

interface Found {
  readonly h: number
  readonly outerLearningRate: number
  readonly loss: number
  readonly interval: Estimate['interval']
}

export const varyInnerSteps = (flags: string[], around: Surroundings = {}): Promise<SavedReport> =>
  runStudy('h', flags, around, investigate)

async function investigate(study: Study) {
  const rows = await scan(study, scannedSizes(study.scale, [SURE_SIZE]), METHODS, (base) => {
    // A round longer than half of the training leaves no outer steps to speak of.
    const possible = STEPS.filter((h) => 2 * h <= stepsOf(base))
    return possible.map((h) => foundWith(study, { ...base, innerSteps: h }))
  })
  const look = { id: 'h', by: 'H', x: { label: 'H, inner steps between outer steps', log: true } }
  return {
    title: 'How often replicas are brought together',
    about: ABOUT(study),
    findings: findingsOf(rows),
    tables: [tableOf(rows)],
    plots: plotsBySize(rows, look, ({ h, loss, interval }) => [{ x: h, y: loss, between: interval }]),
    data: { rows },
  }
}

async function foundWith(study: Study, base: Spec): Promise<Found> {
  const h = base.innerSteps
  const first = h < study.scale.innerSteps ? FIRST_FOR_SMALL : base.outerLearningRate
  const specs = OUTER_RATES.map((outerLearningRate) => ({ ...base, outerLearningRate }))
  const spec = await bestAlong(specs, [Math.max(0, OUTER_RATES.indexOf(first))], study.scan)
  const loss = await study.loss(spec)
  const { outerLearningRate } = spec
  return { h, outerLearningRate, loss: loss.mean, interval: loss.interval }
}

const tableOf = (rows: readonly (Row & Found)[]): Table => ({
  id: 'h',
  title: 'Validation loss by H',
  columns: ['N', 'method', 'H', 'best outer rate', 'loss'],
  rows: rows.map(({ n, method, h, outerLearningRate, loss }) => [n, method, h, outerLearningRate, loss]),
})

function findingsOf(rows: readonly (Row & Found)[]): string[] {
  const groups = grouped(rows, ({ n, method }) => `${n} parameters, ${method}`)
  return [...groups].map(([name, own]) => {
    const best = own.reduce((least, one) => (one.loss < least.loss ? one : least))
    const others = own.map(({ h, loss }) => `H=${h} ${signed(percentOf(loss, best.loss))}`)
    return `${name}: best with H = ${best.h}; ${others.join(', ')}.`
  })
}
