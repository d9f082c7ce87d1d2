/** `npm run lab -- outer-lr`: the best outer learning rate by N and M, beside the paper's (figure 7). */
import { outerLearningRate } from '../../shared/diloco/outer.ts'
import { parameterCount } from '../../shared/model/layout.ts'
import { chartOf } from '../common/chart.ts'
import type { SavedReport } from '../common/report.ts'
import type { Table } from '../common/table.ts'
import { METHODS, type Method, replicasOf } from '../scaling/paper.ts'
import { scannedSizes } from '../training/scale.ts'
import { ABOUT, runStudy, type Study, type Surroundings, tunedAll } from '../training/study.ts'
import { tunedSpec } from '../training/tune.ts'

const RATES = [0.2, 0.4, 0.6, 0.8, 1]
const DILOCO = METHODS.filter((method) => method !== 'data parallel')
/** The largest are left out: this is the tuning of three sizes for every M. */
const SIZES = 3

interface Row {
  readonly method: Method
  readonly n: number
  readonly losses: readonly number[]
}

export const varyOuterRate = (flags: string[], around: Surroundings = {}): Promise<SavedReport> =>
  runStudy('outer-lr', flags, around, investigate)

async function investigate(study: Study) {
  const { scale, codec } = study
  const tuned = await tunedAll(study, DILOCO)
  const rows = await Promise.all(
    scannedSizes(scale, SIZES).flatMap((model) =>
      DILOCO.flatMap((method, i) => {
        const settings = tuned[i]
        if (!settings) return []
        const base = tunedSpec(scale, model, settings, codec)
        const losses = RATES.map(
          async (rate) => (await study.loss({ ...base, outerLearningRate: rate })).mean,
        )
        return [
          Promise.all(losses).then((found): Row => ({ method, n: parameterCount(model), losses: found })),
        ]
      }),
    ),
  )
  return {
    title: 'The outer learning rate',
    about: `${ABOUT(study)} Here of the first seed alone.`,
    findings: findingsOf(rows),
    tables: [tableOf(rows)],
    plots: plotsOf(rows),
    data: { rates: RATES, rows },
  }
}

const bestOf = ({ losses }: Row): number => RATES[losses.indexOf(Math.min(...losses))] ?? Number.NaN

const tableOf = (rows: readonly Row[]): Table => ({
  id: 'outer-lr',
  title: 'Validation loss by outer learning rate',
  columns: ['N', 'method', ...RATES.map(String), 'best', 'the paper’s'],
  rows: rows.map((row) => [
    row.n,
    row.method,
    ...row.losses,
    bestOf(row),
    outerLearningRate('auto', replicasOf(row.method)),
  ]),
  note: 'The paper’s from 335 M on (figure 7); it is what `auto` takes. The inner rate and the batch stay as tuned.',
})

function findingsOf(rows: readonly Row[]): string[] {
  return DILOCO.map((method) => {
    const own = rows.filter((row) => row.method === method)
    const paper = outerLearningRate('auto', replicasOf(method))
    return `${method}: best ${own.map(bestOf).join(', ')} from the smallest size on; the paper has ${paper}.`
  })
}

const plotsOf = (rows: readonly Row[]) =>
  [...new Set(rows.map(({ n }) => n))].map((n) => ({
    id: `outer-lr-${n}`,
    title: `Loss by outer rate, ${n} parameters`,
    svg: chartOf({
      title: `Validation loss by outer learning rate, ${n} parameters`,
      x: { label: 'outer learning rate' },
      y: { label: 'nats per token' },
      series: rows
        .filter((row) => row.n === n)
        .map(({ method, losses }) => ({
          name: method,
          points: losses.map((loss, i) => ({ x: RATES[i] ?? 0, y: loss })),
        })),
    }),
  }))
