/** Who is here and who was: state, device, speed, work, and the way to remove one. */
import { useId, useState } from 'preact/hooks'
import { removeSchema, type VolunteerRow } from '../../shared/protocol/admin.ts'
import { Dialog } from '../ui/Dialog.tsx'
import { ago, bytes, compact, integer, percent } from '../ui/format.ts'
import type { IconName } from '../ui/Icon.tsx'
import { Button, Pill, Table, type Tone } from '../ui/parts.tsx'
import { strings } from '../ui/strings.ts'
import { api, errorText } from './api.ts'
import { type RowState, rowState } from './panelModel.ts'

const words = strings.admin.volunteers

const LOOKS: Record<RowState, [Tone, IconName]> = {
  watching: ['neutral', 'offline'],
  preparing: ['info', 'working'],
  waiting: ['neutral', 'wait'],
  training: ['info', 'working'],
  sending: ['info', 'upload'],
  paused: ['neutral', 'pause'],
  stopped: ['neutral', 'stop'],
  away: ['neutral', 'offline'],
  removed: ['danger', 'cross'],
}

const COLUMNS = [
  { name: words.columns.name },
  { name: words.columns.state },
  { name: words.columns.backend },
  { name: words.columns.speed, numeric: true },
  { name: words.columns.step, numeric: true },
  { name: words.columns.accepted, numeric: true },
  { name: words.columns.rejected, numeric: true },
  { name: words.columns.tokens, numeric: true },
  { name: words.columns.utilisation, numeric: true },
  { name: words.columns.traffic, numeric: true },
  { name: words.columns.way },
  { name: words.columns.seen, numeric: true },
  { name: words.columns.action, pinned: true },
]

export function Volunteers({ rows, now }: { rows: readonly VolunteerRow[]; now: number }) {
  const [removing, setRemoving] = useState<VolunteerRow | null>(null)
  return (
    <section class="card" id="volunteers">
      <h2>{`${words.title} (${integer(rows.length)})`}</h2>
      <Table caption={words.title} columns={COLUMNS} empty={rows.length === 0 ? words.none : undefined}>
        {rows.map((row) => (
          <Row key={row.id} row={row} now={now} onRemove={() => setRemoving(row)} />
        ))}
      </Table>
      {removing !== null && <RemoveDialog row={removing} onClose={() => setRemoving(null)} />}
    </section>
  )
}

interface RowProps {
  row: VolunteerRow
  now: number
  onRemove(): void
}

function Row({ row, now, onRemove }: RowProps) {
  const state = rowState(row)
  const [tone, icon] = LOOKS[state]
  return (
    <tr data-volunteer={row.id} data-state={state}>
      <th scope="row">
        {row.name}
        <p class="small muted device">{row.device}</p>
      </th>
      <td>
        <Pill tone={tone} icon={icon}>
          {words.states[state]}
        </Pill>
        {row.removed !== null && <p class="small muted">{row.removed}</p>}
      </td>
      <td>{row.backend === null ? strings.unknown : strings.backend[row.backend]}</td>
      <td class="numeric">{compact(row.tokensPerSecond)}</td>
      <td class="numeric">{stepText(row)}</td>
      <td class="numeric">{integer(row.accepted)}</td>
      <td class="numeric">{integer(row.rejected)}</td>
      <td class="numeric">{compact(row.tokens)}</td>
      <td class="numeric">{percent(row.utilisation)}</td>
      <td class="numeric">
        {row.bytesUp === null ? strings.unknown : `${bytes(row.bytesUp)} / ${bytes(row.bytesDown)}`}
      </td>
      <td class="way" data-way={row.group === null ? 'direct' : row.group.linked ? 'group' : 'linking'}>
        {wayText(row)}
        {row.peerBytesUp !== null && row.peerBytesUp > 0 && (
          <p class="small muted">{`${bytes(row.peerBytesUp)} / ${bytes(row.peerBytesDown)}`}</p>
        )}
      </td>
      <td class="numeric">{row.connected ? ago(now, now) : ago(row.lastSeenAt, now)}</td>
      <td class="pinned">
        <Button
          size="small"
          kind="danger"
          aria-label={words.removeLabel(row.name)}
          disabled={row.removed !== null}
          onClick={onRemove}
        >
          {words.remove}
        </Button>
      </td>
    </tr>
  )
}

const wayText = ({ group, connected }: VolunteerRow) => {
  if (!connected) return strings.unknown
  if (group === null) return words.direct
  return (group.linked ? words.inGroup : words.linking)(group.size)
}

const stepText = (row: VolunteerRow) =>
  row.step === null || row.steps === null
    ? strings.unknown
    : words.stepOf(integer(row.step), integer(row.steps))

function RemoveDialog({ row, onClose }: { row: VolunteerRow; onClose(): void }) {
  const id = useId()
  const [reason, setReason] = useState('')
  const [fault, setFault] = useState<string | null>(null)
  const remove = async () => {
    const checked = removeSchema.safeParse({ reason })
    if (!checked.success) return setFault(words.reasonMissing)
    try {
      await api.remove(row.id, checked.data.reason)
      onClose()
    } catch (error) {
      setFault(errorText(error))
    }
  }
  return (
    <Dialog title={words.removeTitle(row.name)} onClose={onClose}>
      <form
        noValidate
        onSubmit={(event) => {
          event.preventDefault()
          void remove()
        }}
      >
        <p>{words.removeText}</p>
        <div class="field dialog-field">
          <label for={id}>{words.reason}</label>
          <input
            id={id}
            class="input"
            required
            maxLength={200}
            autocomplete="off"
            value={reason}
            aria-invalid={fault !== null}
            aria-describedby={`${id}-fault`}
            onInput={(event) => setReason(event.currentTarget.value)}
          />
          <p id={`${id}-fault`} class="fault" role="alert">
            {fault}
          </p>
        </div>
        <div class="buttons">
          <Button onClick={onClose}>{words.cancel}</Button>
          <Button kind="danger" type="submit">
            {words.remove}
          </Button>
        </div>
      </form>
    </Dialog>
  )
}
