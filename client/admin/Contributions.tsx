/** Single contributions, newest first: accepted, or not used with the reason. */
import { useState } from 'preact/hooks'
import type { ContributionRow } from '../../shared/protocol/admin.ts'
import { bytes, compact, integer, loss, moment } from '../ui/format.ts'
import { Pill, Segmented, Table } from '../ui/parts.tsx'
import { strings } from '../ui/strings.ts'
import { CONTRIBUTION_FILTERS, type ContributionFilter, filterContributions } from './panelModel.ts'

const words = strings.admin.contributions

const COLUMNS = [
  { name: words.columns.time },
  { name: words.columns.round, numeric: true },
  { name: words.columns.name },
  { name: words.columns.result },
  { name: words.columns.tokens, numeric: true },
  { name: words.columns.loss, numeric: true },
  { name: words.columns.bytes, numeric: true },
]

const OPTIONS = CONTRIBUTION_FILTERS.map((value) => ({ value, label: words[value] }))

export function Contributions({ rows, now }: { rows: readonly ContributionRow[]; now: number }) {
  const [filter, setFilter] = useState<ContributionFilter>('all')
  const shown = filterContributions(rows, filter)
  const empty = rows.length === 0 ? words.none : words.noneFiltered
  return (
    <section class="card" id="contributions">
      <div class="head">
        <h2>{`${words.title} (${integer(shown.length)})`}</h2>
        <Segmented
          legend={words.filter}
          name="contribution-filter"
          options={OPTIONS}
          value={filter}
          onChange={(next) => setFilter(next)}
        />
      </div>
      <Table caption={words.title} columns={COLUMNS} empty={shown.length === 0 ? empty : undefined}>
        {shown.map((row) => (
          <Row key={`${row.lease} ${row.at} ${row.result}`} row={row} now={now} />
        ))}
      </Table>
    </section>
  )
}

function Row({ row, now }: { row: ContributionRow; now: number }) {
  const accepted = row.result === 'accepted'
  return (
    <tr data-result={row.result}>
      <td class="nowrap number">{moment(row.at, now)}</td>
      <td class="numeric">{integer(row.round)}</td>
      <th scope="row">{row.name}</th>
      <td class="result">
        <Pill tone={accepted ? 'ok' : 'neutral'} icon={accepted ? 'check' : 'cross'}>
          {accepted ? words.accepted : words.rejected}
        </Pill>
        {!accepted && (
          <p class="small">{row.reason === null ? row.message : strings.rejection[row.reason]}</p>
        )}
      </td>
      <td class="numeric">{compact(row.tokens)}</td>
      <td class="numeric">{loss(row.trainLoss)}</td>
      <td class="numeric">{bytes(row.bytes)}</td>
    </tr>
  )
}
