/** `npm run lab -- outer-lr`: the best outer learning rate by N and M, beside the paper's (figure 7). */
import { outerLearningRate } from '../../shared/diloco/outer.ts'
import type { SavedReport } from '../common/report.ts'
import type { Table } from '../common/table.ts'
import { METHODS, replicasOf } from '../scaling/paper.ts'
import { SURE_SIZE, scannedSizes } from '../training/scale.ts'
import { plotsBySize, type Row, scan } from '../training/scan.ts'
import { ABOUT, runStudy, type Study, type Surroundings } from '../training/study.ts'

const RATES = [0.2, 0.4, 0.6, 0.8, 1]
const DILOCO = METHODS.filter((method) => method !== 'data parallel')
/** The larger are left out: this is the tuning of two sizes for every M. */
const SIZES = [0, SURE_SIZE]

interface Found {
  readonly losses: readonly number[]
}

export const varyOuterRate = (flags: string[], around: Surroundings = {}): Promise<SavedReport> =>
  runStudy('outer-lr', flags, around, investigate)

async function investigate(study: Study) {
  const rows = await scan(study, scannedSizes(study.scale, SIZES), DILOCO, (base) => {
    const losses = RATES.map((outerLearningRate) => study.scan({ ...base, outerLearningRate }))
    return [Promise.all(losses).then((found): Found => ({ losses: found }))]
  })
  const look = { id: 'outer-lr', by: 'outer learning rate', x: { label: 'outer learning rate' } }
  return {
    title: 'The outer learning rate',
    about: `${ABOUT(study)} Here of the first seed alone.`,
    findings: findingsOf(rows),
    tables: [tableOf(rows)],
    plots: plotsBySize(rows, look, ({ losses }) => losses.map((loss, i) => ({ x: RATES[i] ?? 0, y: loss }))),
    data: { rates: RATES, rows },
  }
}

const bestOf = ({ losses }: Found): number => RATES[losses.indexOf(Math.min(...losses))] ?? Number.NaN

const tableOf = (rows: readonly (Row & Found)[]): Table => ({
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

function findingsOf(rows: readonly (Row & Found)[]): string[] {
  return DILOCO.map((method) => {
    const own = rows.filter((row) => row.method === method)
    const paper = outerLearningRate('auto', replicasOf(method))
    return `${method}: best ${own.map(bestOf).join(', ')} from the smallest size on; the paper has ${paper}.`
  })
}
