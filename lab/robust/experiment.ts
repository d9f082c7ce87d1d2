/**
 * `npm run lab -- robust`: what real volunteers do to a run. Lost contributions, pools that grow and shrink, uneven speeds,
 * newcomers with empty moments, and the mean against RDA for many replicas. Each beside the same run without.
 */
import { parameterCount } from '../../shared/model/layout.ts'
import { chartOf } from '../common/chart.ts'
import type { SavedReport } from '../common/report.ts'
import type { Estimate } from '../common/statistics.ts'
import type { Table } from '../common/table.ts'
import { baseSpec, SURE_SIZE, scannedSizes } from '../training/scale.ts'
import type { Spec } from '../training/spec.ts'
import { ABOUT, percentOf, runStudy, type Study, type Surroundings, signed } from '../training/study.ts'
import { bestRate, tunedSpec } from '../training/tune.ts'
import { FEW_PARTS, PARTS, type Part } from './parts.ts'

export const troubleRuns = (flags: string[], around: Surroundings = {}): Promise<SavedReport> =>
  runStudy('robust', flags, around, investigate)

interface Row {
  readonly name: string
  readonly loss: Estimate
}

interface Found {
  readonly part: Part
  readonly n: number
  readonly batch: number
  readonly rows: readonly Row[]
}

async function investigate(study: Study) {
  const parts = study.scale.name === 'full' ? PARTS : FEW_PARTS
  const found = await Promise.all(parts.map((part) => foundIn(study, part)))
  return {
    title: 'What volunteers do to a run',
    about: ABOUT(study),
    findings: found.flatMap(findingOf),
    tables: found.map(tableOf),
    plots: found.filter(({ part }) => part.id.startsWith('merge')).length > 1 ? [mergePlot(found)] : [],
    data: { found: found.map(({ part, ...rest }) => ({ id: part.id, ...rest })) },
  }
}

async function foundIn(study: Study, part: Part): Promise<Found> {
  const base = await tunedBase(study, part.replicas)
  const rows = await Promise.all(
    part.cases.map(async ({ name, change }) => ({ name, loss: await study.loss({ ...base, ...change }) })),
  )
  return { part, n: parameterCount(base.model), batch: base.batch, rows }
}

/** M of the paper as tuned for `compare`; larger ones with one sequence each at least, and their inner rate tuned. */
async function tunedBase(study: Study, replicas: number): Promise<Spec> {
  const { scale, codec, workshop } = study
  const [model] = scannedSizes(scale, [SURE_SIZE])
  if (!model) throw new RangeError('There is no model.')
  if (replicas === 4) return tunedSpec(scale, model, await study.tuned('M=4'), codec)
  const eight = tunedSpec(scale, model, await study.tuned('M=8'), codec)
  if (replicas === 8) return eight
  const batch = Math.max(eight.batch, replicas)
  return bestRate(workshop, { ...baseSpec(scale, model, replicas, codec), ...eight, replicas, batch }, [0])
}

const against = (row: Row, { rows }: Found): number =>
  percentOf(row.loss.mean, rows[0]?.loss.mean ?? Number.NaN)

function tableOf(found: Found): Table {
  const { part, n, batch, rows } = found
  return {
    id: part.id,
    title: part.title,
    columns: ['case', 'loss', '95 % from', 'to', 'against the first, %'],
    rows: rows.map((row) => [
      row.name,
      row.loss.mean,
      row.loss.interval?.[0] ?? null,
      row.loss.interval?.[1] ?? null,
      against(row, found),
    ]),
    note: `${n} parameters, a batch of ${batch} sequences in all.`,
  }
}

function findingOf(found: Found): string[] {
  const { part, rows } = found
  if (!part.id.startsWith('merge')) {
    const parts = rows.slice(1).map((row) => `${row.name}: ${signed(against(row, found))}`)
    return [`${part.title}. ${parts.join('; ')}.`]
  }
  const best = (how: string) =>
    Math.min(...rows.filter(({ name }) => name.startsWith(how)).map(({ loss }) => loss.mean))
  return [
    `${part.title}: RDA at its best outer rate ${signed(percentOf(best('RDA'), best('mean')))} against the mean at its best.`,
  ]
}

function mergePlot(found: readonly Found[]) {
  const merges = found.filter(({ part }) => part.id.startsWith('merge'))
  const names = merges[0]?.rows.map(({ name }) => name) ?? []
  const svg = chartOf({
    title: 'Validation loss by replicas and merge',
    x: { label: 'M', log: true },
    y: { label: 'nats per token' },
    series: names.map((name) => ({
      name,
      points: merges.flatMap(({ part, rows }) =>
        rows
          .filter((row) => row.name === name)
          .map(({ loss }) => ({ x: part.replicas, y: loss.mean, between: loss.interval })),
      ),
    })),
  })
  return { id: 'merge', title: 'Mean and RDA', svg }
}
