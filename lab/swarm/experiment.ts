/**
 * `npm run lab -- swarm`: the swarm at sizes that nobody can rent. A simulation event by event, in virtual time, around the
 * real round machine and driver: what training is done, what the coordinator's wire carries, and what the machine's
 * bookkeeping costs, by the number of volunteers and by the number of contributions a round.
 */
import { z } from 'zod'
import { openCache } from '../common/cache.ts'
import { chartOf } from '../common/chart.ts'
import { readOptions } from '../common/options.ts'
import { startProgress } from '../common/progress.ts'
import { publish, type Report, type SavedReport, TERMINAL, type Voice } from '../common/report.ts'
import type { Table } from '../common/table.ts'
import { fitAlone } from '../scaling/fit.ts'
import { resultSchema, type Swarm, type SwarmResult } from './result.ts'
import { simulateSwarm } from './world.ts'

const count = z.coerce.number().int().positive()
const EXTRAS = {
  /** The largest swarm. */
  volunteers: { type: 'string', schema: count.optional() },
} as const

/** What production allows. */
const MOST_REPLICAS = 256
const BASE = {
  seed: '1',
  preset: '35m',
  innerSteps: 100,
  batchSize: 8,
  codec: 'int4',
  overlap: true,
  rounds: 6,
  hours: 24,
} as const
const SIZES = [10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000]
const QUICK_SIZES = [10, 100, 1_000]
const REPLICAS = [8, 16, 32, 64, 128, 256]
const QUICK_REPLICAS = [8, 32]

export async function measureSwarm(flags: string[], voice: Voice = TERMINAL): Promise<SavedReport> {
  const { out, quick, cache: path, volunteers } = readOptions('swarm', flags, EXTRAS)
  const cache = await openCache(path, resultSchema)
  const sizes = (quick ? QUICK_SIZES : SIZES).filter(
    (size) => size <= (volunteers ?? Number.POSITIVE_INFINITY),
  )
  const rounds = quick ? 4 : BASE.rounds
  const byVolunteers = sizes.map((size) => swarmOf(size, Math.min(MOST_REPLICAS, share(size)), rounds))
  const byReplicas = (quick ? QUICK_REPLICAS : REPLICAS).map((replicas) =>
    swarmOf(4 * replicas, replicas, rounds),
  )
  const wanted = [...byVolunteers, ...byReplicas]
  const missing = wanted.filter((swarm) => cache.get(JSON.stringify(swarm)) === undefined)
  const cost = ({ volunteers: size, replicas }: Swarm) => size + 3 * replicas
  const progress = startProgress(missing.map(cost), voice.tell)
  for (const swarm of missing) {
    await cache.put(JSON.stringify(swarm), await simulateSwarm(swarm))
    progress.done(cost(swarm), `${swarm.volunteers} volunteers, ${swarm.replicas} contributions a round`)
  }
  const results = (swarms: readonly Swarm[]) =>
    swarms.flatMap((swarm) => cache.get(JSON.stringify(swarm)) ?? [])
  return publish(reportOf(results(byVolunteers), results(byReplicas), quick), out, voice)
}

/** About half are there; a round wants no more than that. */
const share = (volunteers: number) => Math.max(1, Math.round(0.4 * volunteers))
const swarmOf = (volunteers: number, replicas: number, rounds: number): Swarm => ({
  ...BASE,
  volunteers,
  replicas,
  rounds,
})

export function reportOf(
  byVolunteers: readonly SwarmResult[],
  byReplicas: readonly SwarmResult[],
  quick: boolean,
): Report {
  return {
    experiment: 'swarm',
    title: 'The swarm, simulated around the real round machine',
    about: `${BASE.preset}, H = ${BASE.innerSteps}, ${BASE.batchSize} sequences a step, ${BASE.codec} up and int8 down, overlap; at most ${MOST_REPLICAS} contributions a round, as in production. Speeds are log-normal about 1 TFLOP/s, uplinks about 10 Mbit/s; half of the volunteers are there at a time, for two hours on average; of leases 2 % crash, 1 % fall asleep. These are assumptions (lab/swarm/settings.ts); CPU and bytes of state are measured.`,
    command: 'npm run lab -- swarm',
    quick,
    findings: findingsOf(byVolunteers, byReplicas),
    tables: [
      trainingTable(byVolunteers),
      costTable('cost-volunteers', 'by volunteers', byVolunteers),
      costTable('cost-replicas', 'by contributions a round, four volunteers enrolled for each', byReplicas),
    ],
    plots: plotsOf(byVolunteers),
    data: { byVolunteers, byReplicas },
  }
}

const trainingTable = (results: readonly SwarmResult[]): Table => ({
  id: 'training',
  title: 'Training',
  columns: [
    'volunteers',
    'there',
    'replicas',
    'tokens/s',
    'utilisation',
    'lost',
    'rounds/h',
    'accepted',
    'refused',
    'in, Mbit/s',
    'out, Mbit/s',
  ],
  rows: results.map((r) => [
    r.swarm.volunteers,
    r.present,
    r.swarm.replicas,
    r.tokens / r.seconds,
    r.usefulSeconds / r.presentSeconds,
    r.lostSeconds / r.presentSeconds,
    (3_600 * r.rounds) / r.seconds,
    r.accepted,
    r.refused,
    (8 * r.bytesIn) / r.seconds / 1e6,
    (8 * r.bytesOut) / r.seconds / 1e6,
  ]),
  note: 'Utilisation is accepted training over the time that volunteers are there; lost is training that was not accepted.',
})

function costTable(id: string, what: string, results: readonly SwarmResult[]): Table {
  return {
    id,
    title: `The round machine, ${what}`,
    columns: [
      'volunteers',
      'replicas',
      'events/round',
      'asks/round',
      'µs/event',
      'ms/round',
      'µs/commit',
      'commits/round',
      'KB/commit',
      'KB of state',
      'CPU share',
    ],
    rows: results.map((r) => [
      r.swarm.volunteers,
      r.swarm.replicas,
      r.costs.events / r.rounds,
      r.asked / r.rounds,
      (1_000 * r.costs.machine) / r.costs.events,
      r.costs.machine / r.rounds,
      (1_000 * r.costs.commit) / r.costs.commits,
      r.costs.commits / r.rounds,
      r.keptBytes / 1e3,
      r.stateBytes / 1e3,
      (r.costs.machine + r.costs.commit) / (1_000 * r.seconds),
    ]),
    note: 'CPU of one core, on the machine that ran this; a commit is its JSON alone, not the disk. CPU share: machine and commits of the virtual time that passed.',
  }
}

/** How one thing grows with another: the exponent of the best power law; null of fewer than two sizes. */
function growth(
  results: readonly SwarmResult[],
  x: (r: SwarmResult) => number,
  y: (r: SwarmResult) => number,
): number | null {
  const samples = results.map((r) => ({ n: x(r), m: 1, y: y(r) }))
  return new Set(samples.map(({ n }) => n)).size < 2 ? null : fitAlone(samples).alpha
}

function findingsOf(byVolunteers: readonly SwarmResult[], byReplicas: readonly SwarmResult[]): string[] {
  const full = byVolunteers.filter(({ swarm }) => swarm.replicas === MOST_REPLICAS)
  const volunteers = ({ swarm }: SwarmResult) => swarm.volunteers
  const replicas = ({ swarm }: SwarmResult) => swarm.replicas
  const anEvent = ({ costs }: SwarmResult) => costs.machine / costs.events
  const aRound = ({ costs, rounds }: SwarmResult) => costs.machine / rounds
  const sentence = (what: string, power: number | null) =>
    power === null ? [] : [`${what} grows with the power ${power.toFixed(2)}.`]
  return [
    ...sentence(
      `With ${MOST_REPLICAS} contributions a round, an event’s CPU by volunteers`,
      growth(full, volunteers, anEvent),
    ),
    ...sentence(
      `With ${MOST_REPLICAS} contributions a round, a round’s CPU by volunteers`,
      growth(full, volunteers, aRound),
    ),
    ...sentence('A round’s CPU by contributions', growth(byReplicas, replicas, aRound)),
    ...sentence(
      'Bytes of a commit by contributions',
      growth(byReplicas, replicas, ({ keptBytes }) => keptBytes),
    ),
  ]
}

function plotsOf(results: readonly SwarmResult[]): Report['plots'] {
  const x = { label: 'volunteers enrolled', log: true }
  const pointsOf = (y: (r: SwarmResult) => number) => results.map((r) => ({ x: r.swarm.volunteers, y: y(r) }))
  return [
    {
      id: 'tokens',
      title: 'Tokens a second',
      svg: chartOf({
        title: 'Tokens a second by volunteers',
        x,
        y: { label: 'tokens/s', log: true },
        series: [{ name: 'accepted', points: pointsOf((r) => r.tokens / r.seconds) }],
      }),
    },
    {
      id: 'utilisation',
      title: 'Utilisation',
      svg: chartOf({
        title: 'Share of their time that volunteers’ training counts',
        x,
        y: { label: 'share', range: [0, 1] },
        series: [
          { name: 'accepted', points: pointsOf((r) => r.usefulSeconds / r.presentSeconds) },
          { name: 'lost', points: pointsOf((r) => r.lostSeconds / r.presentSeconds) },
        ],
      }),
    },
    {
      id: 'cpu',
      title: 'CPU of the round machine',
      svg: chartOf({
        title: 'CPU of the round machine by volunteers',
        x,
        y: { label: 'ms', log: true },
        series: [
          { name: 'an event', points: pointsOf((r) => r.costs.machine / r.costs.events) },
          { name: 'a round', points: pointsOf((r) => r.costs.machine / r.rounds) },
        ],
      }),
    },
  ]
}
