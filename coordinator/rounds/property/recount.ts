/**
 * What anybody with a copy of the database and of the vectors can work out again: every round's global weights from the
 * rows of its contributions, bit for bit, and everybody's credit. Its arithmetic is written out from the paper's formula
 * and shares nothing with the coordinator's but the downlink's codec.
 */
import SQLite from 'better-sqlite3'
import { CODECS } from '../../../shared/codec/codec.ts'
import type { Machine } from '../state.ts'
import { type Ledger, must } from './ledger.ts'
import { hashOf, type Values, type Vectors } from './vectors.ts'

interface ContributionRow {
  lease: string
  volunteer: string
  round: number
  hash: string
  mean: string | null
  steps: number
  tokens: number
  weight: number
  merged: number
  discarded: number
}

interface RoundRow {
  round: number
  fragment: number
  replicas: number
  tokens: number
  steps: number
  outer_learning_rate: number
  weights_before: string
  exact_before: string | null
  velocity_before: string | null
  weights_after: string
  exact_after: string
  velocity_after: string
  leases: string
}

interface Standing {
  weights: Values
  exact: Values
  velocity: Values
  touched: boolean
}

/** The paper's best constant outer learning rate by replicas (figure 7 of 2503.09799). */
const PAPER: Readonly<Record<number, number>> = { 1: 0.4, 2: 0.6, 3: 0.6, 4: 0.6 }

export function recount(file: string, first: Machine, vectors: Vectors, ledger: Ledger): void {
  const db = new SQLite(file, { readonly: true })
  try {
    const rounds = db.prepare('select * from rounds order by round').all() as RoundRow[] // schema.ts has these columns
    const rows = db
      .prepare("select * from contributions where result = 'accepted' order by lease")
      .all() as ContributionRow[] // as above
    const leases = db.prepare('select id, ended, ranges from leases').all() as { id: string }[] // as above
    recountRounds(
      rounds,
      rows.filter(({ discarded }) => discarded === 0),
      first,
      vectors,
    )
    compareRows(rows, ledger)
    must(rounds.length === ledger.closed.length, 'a row for every closed round')
    const theirs = leases.map((row) => JSON.stringify(row)).sort()
    const ours = [...ledger.leases].map(([id, { end, ranges }]) =>
      JSON.stringify({ id, ended: end, ranges: JSON.stringify(ranges) }),
    )
    must(JSON.stringify(theirs) === JSON.stringify(ours.sort()), 'the leases’ rows are the ledger’s')
  } finally {
    db.close()
  }
}

function recountRounds(rounds: RoundRow[], all: ContributionRow[], first: Machine, vectors: Vectors): void {
  const { fragments, config } = first
  const standings = fragments.map(({ base }): Standing => {
    const weights = vectors.get(base.weights)
    return { weights, exact: weights.slice(), velocity: weights.slice().fill(0), touched: false }
  })
  for (const [index, row] of rounds.entries()) {
    const rows = all.filter(({ round }) => round === row.round)
    must(row.round === index + 1 && row.fragment === index % fragments.length, '[R12] in turn')
    must(row.leases === JSON.stringify(rows.map(({ lease }) => lease)), 'a round’s row names its leases')
    must(rows.length === row.replicas && sumOf(rows, 'tokens') === row.tokens, 'and counts them')
    must(sumOf(rows, 'steps') === row.steps, 'and their steps')
    const rate = config.outerLearningRate === 'auto' ? PAPER[rows.length] : config.outerLearningRate
    must(rate === row.outer_learning_rate, 'the outer learning rate is the paper’s')
    outerStep(standings[row.fragment] as Standing, rows, row, first, vectors) // one a fragment
  }
}

/** v ← μv + Δ, θ ← θ − η(Δ + μv) on the exact weights, then θ̂ ← θ̂ + Q(θ − θ̂). */
function outerStep(
  standing: Standing,
  rows: ContributionRow[],
  row: RoundRow,
  { config }: Machine,
  vectors: Vectors,
): void {
  const { weights, exact, velocity } = standing
  must(row.weights_before === hashOf(weights), 'a round begins at the weights of the one before')
  must(row.exact_before === (standing.touched ? hashOf(exact) : null), 'and at its exact ones')
  must(row.velocity_before === (standing.touched ? hashOf(velocity) : null), 'and at its velocity')
  const means = [...new Set(rows.flatMap(({ mean }) => mean ?? []))]
  const first = (row: ContributionRow) => rows.find(({ mean }) => mean === row.mean) === row
  const contributions = rows
    .filter((row) => row.mean === null || first(row))
    .map(({ hash, mean, weight }) => {
      const together =
        mean === null
          ? weight
          : sumOf(
              rows.filter((row) => row.mean === mean),
              'weight',
            )
      return { values: vectors.get(mean ?? hash), weight: together }
    })
  must(
    means.every((mean) => rows.filter((row) => row.mean === mean).length > 1),
    '[G1] a mean is of several',
  )
  const total = sumOf(rows, 'weight')
  const difference = weights.slice()
  for (let i = 0; i < exact.length; i++) {
    let sum = 0
    for (const { values, weight } of contributions) sum += weight * Number(values[i])
    const delta = sum / total
    const v = config.outerMomentum * Number(velocity[i]) + delta
    velocity[i] = v
    exact[i] = Number(exact[i]) - row.outer_learning_rate * (delta + config.outerMomentum * v)
    difference[i] = Number(exact[i]) - Number(weights[i])
  }
  const codec = CODECS[config.downlink]
  const sent = codec.decode(codec.encode(difference), difference.length)
  for (let i = 0; i < weights.length; i++) weights[i] = Number(weights[i]) + Number(sent[i])
  standing.touched = true
  must(row.weights_after === hashOf(weights), `round ${row.round}: the global weights, bit for bit`)
  must(row.exact_after === hashOf(exact), `round ${row.round}: the exact weights, bit for bit`)
  must(row.velocity_after === hashOf(velocity), `round ${row.round}: the velocity, bit for bit`)
}

function compareRows(rows: ContributionRow[], ledger: Ledger): void {
  const all = new Map([...ledger.accepted, ...ledger.discarded.accepted])
  must(rows.length === all.size, 'a row for every accepted contribution, and no other')
  const last = ledger.closed.length
  for (const { lease, volunteer, round, hash, mean, steps, tokens, weight, merged, discarded } of rows) {
    const ours = all.get(lease)
    const same =
      ours?.volunteer === volunteer &&
      ours.round === round &&
      ours.hash === hash &&
      ours.mean === mean &&
      ours.steps === steps &&
      ours.tokens === tokens &&
      ours.weight === weight
    must(same, `the row of ${lease} is what was accepted`)
    must(merged === Number(ours.merged ?? round <= last), 'merged when its round has closed')
    must(discarded === Number(ledger.discarded.accepted.has(lease)), '[B2] discarded with its round')
  }
}

const sumOf = (rows: readonly ContributionRow[], column: 'tokens' | 'steps' | 'weight'): number =>
  rows.reduce((sum, row) => sum + row[column], 0)
