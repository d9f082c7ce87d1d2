/** The questions of `lab -- robust`: for each, its cases, as changes to a tuned run. */
import type { Spec, Trouble } from '../training/spec.ts'

export interface Case {
  readonly name: string
  readonly change: Partial<Spec>
}

export interface Part {
  readonly id: string
  readonly title: string
  /** M. */
  readonly replicas: number
  /** The first is what the others are compared with. */
  readonly cases: readonly Case[]
}

const troubled = (name: string, trouble: Trouble): Case => ({ name, change: { trouble } })

const drops = (replicas: number): Part => ({
  id: `drops-m${replicas}`,
  title: `Contributions that are lost, M = ${replicas}`,
  replicas,
  cases: [0, 0.1, 0.3, 0.5].map((share) =>
    troubled(`${100 * share} % lost`, share === 0 ? {} : { drops: share }),
  ),
})

const POOL: Part = {
  id: 'pool',
  title: 'A pool that grows or shrinks, at equal tokens, M = 4 at most',
  replicas: 4,
  cases: [
    troubled('constant', {}),
    troubled('grows 1, 2, 3, 4', { pool: [0.25, 0.5, 0.75, 1] }),
    troubled('shrinks 4, 3, 2, 1', { pool: [1, 0.75, 0.5, 0.25] }),
    troubled('doubles 2, 2, 4, 4', { pool: [0.5, 0.5, 1, 1] }),
    troubled('halves 4, 4, 2, 2', { pool: [1, 1, 0.5, 0.5] }),
  ],
}

const SPEEDS: Part = {
  id: 'speeds',
  title: 'Uneven speeds with leases sized by them, M = 4',
  replicas: 4,
  cases: [
    troubled('all alike', {}),
    troubled('1 : 2', { speeds: [1, 2] }),
    troubled('1 : 1 : 2 : 4', { speeds: [1, 1, 2, 4] }),
    troubled('1 : 2 : 4 : 8', { speeds: [1, 2, 4, 8] }),
  ],
}

const NEWCOMERS: Part = {
  id: 'newcomers',
  title: 'Newcomers with empty moments, M = 4',
  replicas: 4,
  cases: [
    troubled('none', {}),
    ...[0.1, 0.3, 0.5].flatMap((newcomers) => [
      troubled(`${100 * newcomers} % of replicas a round, warmed up`, { newcomers }),
      troubled(`${100 * newcomers} % of replicas a round, not warmed up`, { newcomers, warmUp: false }),
    ]),
  ],
}

/** With many replicas the batch has to grow: one sequence each at least. */
const merge = (replicas: number): Part => ({
  id: `merge-m${replicas}`,
  title: `How contributions are merged, M = ${replicas}`,
  replicas,
  cases: (['mean', 'rda'] as const).flatMap((how) =>
    [0.2, 0.4, 0.8].map((outerLearningRate) => ({
      name: `${how === 'rda' ? 'RDA' : 'mean'}, outer rate ${outerLearningRate}`,
      change: { merge: how, outerLearningRate },
    })),
  ),
})

export const PARTS: readonly Part[] = [
  drops(4),
  drops(8),
  POOL,
  SPEEDS,
  NEWCOMERS,
  merge(4),
  merge(8),
  merge(16),
  merge(32),
]
/** For the small forms. */
export const FEW_PARTS: readonly Part[] = [drops(4), POOL, SPEEDS, NEWCOMERS, merge(4), merge(16)]
