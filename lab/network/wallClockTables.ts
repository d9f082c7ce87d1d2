/** The wall-clock model over sizes, networks and methods, with batches from the paper's fits. */
import { chartOf } from '../common/chart.ts'
import type { Table } from '../common/table.ts'
import { BATCH_LAWS, METHODS, type Method, replicasOf } from '../scaling/paper.ts'
import { NETWORKS, type NetworkName, wallClock } from './wallClock.ts'

const SIZES = { '35M': 35e6, '335M': 335e6, '2.4B': 2.4e9, '10B': 10e9 } as const
const NAMES = Object.keys(NETWORKS) as NetworkName[]
/** The paper's default. */
const INNER_STEPS = 30
/** Of the paper's fits, which count sequences. */
const SEQUENCE = 2_048

function timesOf(method: Method, parameters: number, network: NetworkName) {
  const { a, alpha } = BATCH_LAWS[method]
  const batch = SEQUENCE * a * parameters ** alpha
  const replicas = method === 'data parallel' ? null : replicasOf(method)
  const training = { parameters, tokens: 20 * parameters, batch, replicas, innerSteps: INNER_STEPS }
  return wallClock(training, NETWORKS[network])
}

export const wallClockTable = (): Table => ({
  id: 'wall-clock',
  title: `Idealised wall-clock time, H = ${INNER_STEPS}, 20 tokens a parameter`,
  columns: ['N', 'method', 'computing, h', ...NAMES.map((name) => `${name}, h`)],
  rows: Object.entries(SIZES).flatMap(([name, n]) =>
    METHODS.map((method) => [
      name,
      method,
      timesOf(method, n, 'high').compute / 3_600,
      ...NAMES.map((network) => timesOf(method, n, network).total / 3_600),
    ]),
  ),
  note: 'Batches from the paper’s table 9. The paper’s numbers of chips are not published: here one of 300 TFLOP/s for every 8,192 tokens of the batch.',
})

export const wallClockPlots = () =>
  NAMES.map((network) => ({
    id: `wall-clock-${network}`,
    title: `Wall-clock time, ${network}`,
    svg: chartOf({
      title: `Idealised wall-clock time: ${network} bandwidth`,
      x: { label: 'N, parameters', log: true },
      y: { label: 'hours', log: true },
      series: METHODS.map((method) => ({
        name: method,
        points: Object.values(SIZES).map((n) => ({ x: n, y: timesOf(method, n, network).total / 3_600 })),
      })),
    }),
  }))
