/** Every merged round with its losses, bytes and outer step, newest first. */
import type { DiscardedRound } from '../../shared/protocol/admin.ts'
import type { RoundSummary } from '../../shared/protocol/run.ts'
import { bytes, compact, integer, loss, moment, significant, times } from '../ui/format.ts'
import { Table } from '../ui/parts.tsx'
import { strings } from '../ui/strings.ts'
import { trafficOf } from '../ui/traffic.ts'

const words = strings.admin.rounds

const COLUMNS = [
  { name: words.columns.round },
  { name: words.columns.time, numeric: true },
  { name: words.columns.volunteers, numeric: true },
  { name: words.columns.tokens, numeric: true },
  { name: words.columns.train, numeric: true },
  { name: words.columns.val, numeric: true },
  { name: words.columns.bits, numeric: true },
  { name: words.columns.seconds, numeric: true },
  { name: words.columns.up, numeric: true },
  { name: words.columns.down, numeric: true },
  { name: words.columns.each, numeric: true },
  { name: words.columns.less, numeric: true },
  { name: words.columns.rate, numeric: true },
]

interface RoundsProps {
  rounds: readonly RoundSummary[]
  discarded: readonly DiscardedRound[]
  parameters: number
  now: number
}

export function Rounds({ rounds, discarded, parameters, now }: RoundsProps) {
  return (
    <section class="card" id="rounds">
      <h2>{`${words.title} (${integer(rounds.length)})`}</h2>
      <Table caption={words.title} columns={COLUMNS} empty={rounds.length === 0 ? words.none : undefined}>
        {rounds.map((round) => (
          <Row key={round.round} round={round} parameters={parameters} now={now} />
        ))}
        {discarded.map((round) => (
          <Row
            key={`${round.era} ${round.round}`}
            round={round}
            parameters={parameters}
            now={now}
            discarded
          />
        ))}
      </Table>
    </section>
  )
}

interface RowProps {
  round: Omit<RoundSummary, 'totalTokens'>
  parameters: number
  now: number
  /** Rolled back: no longer part of the run. */
  discarded?: boolean
}

function Row({ round, parameters, now, discarded = false }: RowProps) {
  const traffic = trafficOf(round, parameters)
  return (
    <tr data-round={round.round} class={discarded ? 'muted' : ''}>
      <th scope="row">{discarded ? words.discarded(integer(round.round)) : integer(round.round)}</th>
      <td class="numeric">{moment(round.closedAt, now)}</td>
      <td class="numeric">{integer(round.replicas)}</td>
      <td class="numeric">{compact(round.tokens)}</td>
      <td class="numeric">{loss(round.trainLoss)}</td>
      <td class="numeric">{loss(round.valLoss)}</td>
      <td class="numeric">{loss(round.bitsPerByte)}</td>
      <td class="numeric">{significant(round.seconds)}</td>
      <td class="numeric">{bytes(round.bytesUp)}</td>
      <td class="numeric">{bytes(round.bytesDown)}</td>
      <td class="numeric">{`${bytes(traffic.up)} / ${bytes(traffic.down)}`}</td>
      <td class="numeric">{times(traffic.times)}</td>
      <td class="numeric">{significant(round.outerLearningRate)}</td>
    </tr>
  )
}
