/**
 * `npm run lab -- scaling [--paper]`: power laws in N, and in N and M, of the loss, the inner learning rate and the batch,
 * fitted to what `lab -- compare` has found or, with --paper, to the paper's own losses; and how well the smaller sizes
 * predict the largest.
 */
import { z } from 'zod'
import type { Series } from '../common/chart.ts'
import { chartOf } from '../common/chart.ts'
import { OUT, readOptions } from '../common/options.ts'
import { publish, type Report, type SavedReport, TERMINAL, type Voice } from '../common/report.ts'
import type { Table } from '../common/table.ts'
import { fitAlone, fitJointly, leaveLargestOut, type PowerLaw, predicted, type Sample } from './fit.ts'
import { BATCH_LAWS, JOINT_LAWS, LOSS_LAWS, METHODS, RATE_LAWS, replicasOf } from './paper.ts'
import { comparedPoints, type Point, paperPoints } from './points.ts'

const EXTRAS = {
  paper: { type: 'boolean', schema: z.boolean().default(false) },
  from: { type: 'string', schema: z.string().min(1).default(OUT) },
} as const

export async function fitScaling(flags: string[], voice: Voice = TERMINAL): Promise<SavedReport> {
  const { paper, from, out, quick } = readOptions('scaling', flags, EXTRAS)
  const points = paper ? paperPoints() : await comparedPoints(from)
  const command = `npm run lab -- scaling${paper ? ' --paper' : ''}`
  return publish(reportOf(points, { paper, quick, command }), out, voice)
}

type Quantity = 'loss' | 'rate' | 'batch'
const QUANTITIES: readonly Quantity[] = ['loss', 'rate', 'batch']
const WORDS = { loss: 'validation loss', rate: 'inner learning rate', batch: 'global batch, sequences' }
const ALONE = { loss: LOSS_LAWS, rate: RATE_LAWS, batch: BATCH_LAWS }

interface How {
  readonly paper: boolean
  readonly quick: boolean
  readonly command: string
}

export function reportOf(points: readonly Point[], { paper, quick, command }: How): Report {
  const known = QUANTITIES.filter((quantity) => points.some((point) => point[quantity] !== null))
  const laws = known.flatMap((quantity) => lawsOf(points, quantity))
  return {
    experiment: paper ? 'scaling-paper' : 'scaling',
    title: paper ? 'Scaling laws, fitted to the paper’s own losses' : 'Scaling laws, fitted to our runs',
    about:
      'Power laws by least squares of logarithms. The joint law looks at DiLoCo alone, M = 1, 2, 4, 8. Held out: the largest size is predicted from the others; the miss is |log y − log ŷ|.',
    command,
    quick,
    findings: known.flatMap((quantity) => findingsOf(points, quantity)),
    tables: [lawTable(laws), ...known.map((quantity) => heldOutTable(points, quantity))],
    plots: known.map((quantity) => ({ id: quantity, title: WORDS[quantity], svg: plotOf(points, quantity) })),
    data: { points, laws },
  }
}

function samplesOf(points: readonly Point[], quantity: Quantity, method?: Point['method']): Sample[] {
  const wanted = (point: Point) =>
    method === undefined ? point.method !== 'data parallel' : point.method === method
  return points.flatMap((point) => {
    const y = point[quantity]
    return wanted(point) && y !== null ? [{ n: point.n, m: replicasOf(point.method), y }] : []
  })
}

interface NamedLaw extends PowerLaw {
  readonly quantity: Quantity
  readonly name: string
  readonly published: readonly number[]
}

const methodsIn = (points: readonly Point[]) =>
  METHODS.filter((method) => points.some((point) => point.method === method))

/** What can be fitted: fewer than two sizes, or one M alone, give no law. */
function lawsOf(points: readonly Point[], quantity: Quantity): NamedLaw[] {
  const alone = methodsIn(points).flatMap((name): NamedLaw[] => {
    const law = attempt(() => fitAlone(samplesOf(points, quantity, name)))
    const { a, alpha } = ALONE[quantity][name]
    return law ? [{ quantity, name, ...law, published: [a, alpha] }] : []
  })
  const joint = attempt(() => fitJointly(samplesOf(points, quantity)))
  const { a, alpha, beta } = JOINT_LAWS[quantity]
  return joint ? [...alone, { quantity, name: 'joint', ...joint, published: [a, alpha, beta] }] : alone
}

function attempt<T>(find: () => T): T | null {
  try {
    return find()
  } catch (error) {
    if (error instanceof RangeError) return null
    throw error
  }
}

const lawTable = (laws: readonly NamedLaw[]): Table => ({
  id: 'laws',
  title: 'y = A·N^α·M^β, and what the paper has',
  columns: ['y', 'fit', 'A', 'α', 'β', 'paper A', 'paper α', 'paper β'],
  rows: laws.map(({ quantity, name, a, alpha, beta, published }) => [
    WORDS[quantity],
    name,
    a,
    alpha,
    name === 'joint' ? beta : null,
    published[0] ?? null,
    published[1] ?? null,
    published[2] ?? null,
  ]),
  note: 'The paper’s N goes from 35 M to 2.4 B, its sequences have 2,048 tokens and its vocabulary 32,768.',
})

function heldOutTable(points: readonly Point[], quantity: Quantity): Table {
  const joint = attempt(() => leaveLargestOut(samplesOf(points, quantity), fitJointly))
  const rows = methodsIn(points).map((method) => {
    const alone = attempt(() => leaveLargestOut(samplesOf(points, quantity, method), fitAlone))
    const missed = alone?.missed[0]
    const m = replicasOf(method)
    const jointly = method === 'data parallel' ? undefined : joint?.missed.find((one) => one.m === m)
    const guess = missed && alone ? predicted(alone.law, missed.n, m) : null
    return [
      method,
      missed?.n ?? null,
      missed?.y ?? null,
      guess,
      missed?.residual ?? null,
      jointly?.residual ?? null,
    ]
  })
  return {
    id: `held-out-${quantity}`,
    title: `The largest size predicted from the others: ${WORDS[quantity]}`,
    columns: ['method', 'N', 'found', 'predicted alone', 'miss alone', 'miss jointly'],
    rows,
  }
}

function findingsOf(points: readonly Point[], quantity: Quantity): string[] {
  return lawsOf(points, quantity).map(({ name, a, alpha, beta }) => {
    const after = name === 'joint' ? ` · M^${beta.toFixed(4)}` : ''
    return `${WORDS[quantity]}, ${name}: ${Number(a.toPrecision(5))} · N^${alpha.toFixed(4)}${after}.`
  })
}

function plotOf(points: readonly Point[], quantity: Quantity): string {
  const sizes = points.map(({ n }) => n)
  const ends = [Math.min(...sizes), Math.max(...sizes)]
  const series = methodsIn(points).flatMap((method): Series[] => {
    const samples = samplesOf(points, quantity, method)
    const law = attempt(() => fitAlone(samples))
    const hue = METHODS.indexOf(method)
    const drawn = samples.map(({ n, y }) => ({ x: n, y }))
    const marks: Series = { name: method, draw: 'marks', hue, points: drawn }
    return law ? [marks, { ...lineOf(law, ends), hue }] : [marks]
  })
  const x = { label: 'N, parameters', log: true }
  return chartOf({ title: WORDS[quantity], x, y: { label: WORDS[quantity], log: true }, series })
}

const lineOf = (law: PowerLaw, ends: readonly number[]): Series => ({
  name: `N^${law.alpha.toFixed(3)}`,
  draw: 'dashes',
  points: ends.map((n) => ({ x: n, y: predicted(law, n, 1) })),
})
