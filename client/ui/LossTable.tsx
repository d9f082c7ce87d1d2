/** The loss chart's numbers as a table: newest first, fifty rows a page. */
import { useState } from 'preact/hooks'
import { compact, integer, loss, moment, significant } from './format.ts'
import { type LossPoint, perplexity, pointName } from './lossData.ts'
import { Button, Table } from './parts.tsx'
import { strings } from './strings.ts'

export const ROWS_PER_PAGE = 50

export function LossTable({ points }: { points: readonly LossPoint[] }) {
  const [page, setPage] = useState(0)
  const words = strings.chart
  const first = page * ROWS_PER_PAGE
  const rows = [...points].reverse().slice(first, first + ROWS_PER_PAGE)
  const columns = [
    { name: words.columns.round },
    { name: words.columns.tokens, numeric: true },
    { name: words.columns.heldOut, numeric: true },
    { name: words.columns.perplexity, numeric: true },
    { name: words.columns.bits, numeric: true },
    { name: words.columns.training, numeric: true },
    { name: words.columns.replicas, numeric: true },
    { name: words.columns.closed, numeric: true },
  ]
  return (
    <>
      <Table caption={words.caption} columns={columns}>
        {rows.map((point) => (
          <tr key={point.round}>
            <th scope="row">{pointName(point)}</th>
            <td class="numeric">{compact(point.tokens)}</td>
            <td class="numeric">{loss(point.heldOut)}</td>
            <td class="numeric">{significant(perplexity(point.heldOut))}</td>
            <td class="numeric">{loss(point.bits)}</td>
            <td class="numeric">{loss(point.training)}</td>
            <td class="numeric">{integer(point.replicas)}</td>
            <td class="numeric">{moment(point.closedAt, Date.now())}</td>
          </tr>
        ))}
      </Table>
      {points.length > ROWS_PER_PAGE && (
        <div class="buttons">
          <Button size="small" disabled={page === 0} onClick={() => setPage(page - 1)}>
            {words.newer}
          </Button>
          <Button
            size="small"
            disabled={first + ROWS_PER_PAGE >= points.length}
            onClick={() => setPage(page + 1)}
          >
            {words.older}
          </Button>
          <p class="muted small">
            {words.page(integer(first + 1), integer(first + rows.length), integer(points.length))}
          </p>
        </div>
      )}
    </>
  )
}
