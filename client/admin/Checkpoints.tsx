/** Kept checkpoints with their losses and sizes: to take away and to go back to. Starting a run from one is StartFrom.tsx's. */
import { useState } from 'preact/hooks'
import { type AdminView, ROUTES } from '../../shared/protocol/admin.ts'
import { CHECKPOINT_FILES, type CheckpointRow } from '../../shared/protocol/checkpoints.ts'
import type { RunView } from '../../shared/protocol/run.ts'
import { Dialog } from '../ui/Dialog.tsx'
import { bytes, compact, integer, loss, moment } from '../ui/format.ts'
import { Button, Table } from '../ui/parts.tsx'
import { strings } from '../ui/strings.ts'
import { api, errorText } from './api.ts'
import { mayRollBackTo } from './panelModel.ts'

const words = strings.admin.checkpoints

const COLUMNS = [
  { name: words.columns.run },
  { name: words.columns.round, numeric: true },
  { name: words.columns.time, numeric: true },
  { name: words.columns.val, numeric: true },
  { name: words.columns.bits, numeric: true },
  { name: words.columns.train, numeric: true },
  { name: words.columns.size, numeric: true },
  { name: words.columns.kept },
  { name: words.columns.download },
  { name: words.columns.action },
]

type CheckpointsProps = Pick<AdminView, 'checkpoints' | 'rollbacks' | 'run'> & { now: number }

export function Checkpoints({ checkpoints, rollbacks, run, now }: CheckpointsProps) {
  const [asking, setAsking] = useState<CheckpointRow | null>(null)
  const [refusal, setRefusal] = useState<string | null>(null)
  const rollBack = async ({ run: id, round }: CheckpointRow) => {
    setAsking(null)
    setRefusal(null)
    await api.rollBack(id, round).catch((error: unknown) => setRefusal(errorText(error)))
  }
  return (
    <section class="card" id="checkpoints">
      <h2>{`${words.title} (${integer(checkpoints.length)})`}</h2>
      <Table
        caption={words.title}
        columns={COLUMNS}
        empty={checkpoints.length === 0 ? words.none : undefined}
      >
        {checkpoints.map((row) => (
          <Row key={`${row.run} ${row.round}`} row={row} run={run} now={now} onRollBack={setAsking} />
        ))}
      </Table>
      {refusal !== null && (
        <p class="action-fault" role="alert">
          {refusal}
        </p>
      )}
      {rollbacks.map(({ from, to, contributions, tokens, at }) => (
        <p key={at} class="small muted">
          {words.rolledBack(moment(at, now), integer(from), integer(to), contributions, compact(tokens))}
        </p>
      ))}
      {asking !== null && run !== null && (
        <Dialog title={words.rollBackTitle(integer(asking.round))} onClose={() => setAsking(null)}>
          <p>{words.rollBackText(run.round - 1 - asking.round, integer(run.round))}</p>
          <div class="buttons">
            <Button onClick={() => setAsking(null)}>{words.stay}</Button>
            <Button kind="danger" onClick={() => void rollBack(asking)}>
              {words.rollBack}
            </Button>
          </div>
        </Dialog>
      )}
    </section>
  )
}

interface RowProps {
  row: CheckpointRow
  run: RunView | null
  now: number
  onRollBack(row: CheckpointRow): void
}

function Row({ row, run, now, onRollBack }: RowProps) {
  const round = integer(row.round)
  return (
    <tr data-checkpoint={row.round}>
      <th scope="row">{row.name}</th>
      <td class="numeric">{round}</td>
      <td class="numeric">{moment(row.at, now)}</td>
      <td class="numeric">{loss(row.valLoss)}</td>
      <td class="numeric">{loss(row.bitsPerByte)}</td>
      <td class="numeric">{loss(row.trainLoss)}</td>
      <td class="numeric">{bytes(row.bytes)}</td>
      <td>{row.reasons.map((reason) => words.reasons[reason]).join(', ')}</td>
      <td class="downloads">
        {CHECKPOINT_FILES.map((file) => (
          <a
            key={file}
            href={ROUTES.adminCheckpoint(row.run, row.round, file)}
            aria-label={words.downloadLabel(words.files[file], round)}
            download
          >
            {words.files[file]}
          </a>
        ))}
      </td>
      <td>
        {mayRollBackTo(row, run) && (
          <Button size="small" aria-label={words.rollBackLabel(round)} onClick={() => onRollBack(row)}>
            {words.rollBack}
          </Button>
        )}
      </td>
    </tr>
  )
}
