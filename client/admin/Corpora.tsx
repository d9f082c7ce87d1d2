/** The corpora: the embedded one and those that `npm run potluck -- corpus add` brought, and the choice among them. */
import { useId } from 'preact/hooks'
import type { CorpusRow } from '../../shared/protocol/admin.ts'
import type { CorpusChoice } from '../../shared/protocol/run.ts'
import { compact, integer, moment } from '../ui/format.ts'
import { Table } from '../ui/parts.tsx'
import { strings } from '../ui/strings.ts'

const words = strings.admin.corpora

const COLUMNS = [
  { name: words.columns.name },
  { name: words.columns.documents, numeric: true },
  { name: words.columns.tokens, numeric: true },
  { name: words.columns.bytesPerToken, numeric: true },
  { name: words.columns.vocabulary, numeric: true },
  { name: words.columns.broken, numeric: true },
  { name: words.columns.licence },
  { name: words.columns.sample },
  { name: words.columns.time, numeric: true },
]

export function Corpora({ rows, now }: { rows: readonly CorpusRow[]; now: number }) {
  return (
    <section class="card" id="corpora">
      <h2>{`${words.title} (${integer(rows.length)})`}</h2>
      <Table caption={words.title} columns={COLUMNS} empty={rows.length === 0 ? words.none : undefined}>
        {rows.map((row) => (
          <tr key={row.id}>
            <td>
              {row.name}
              <br />
              <span class="small muted">{row.source}</span>
            </td>
            <td class="numeric">{compact(row.documents)}</td>
            <td class="numeric">{compact(row.tokens)}</td>
            <td class="numeric">{bytesPerToken(row)}</td>
            <td class="numeric">{integer(row.vocabSize)}</td>
            <td class="numeric">{integer(row.broken)}</td>
            <td>{row.licence || words.unknown}</td>
            <td class="small">{row.sample}</td>
            <td class="numeric">{moment(row.at, now)}</td>
          </tr>
        ))}
      </Table>
      <p class="small muted">{words.how}</p>
    </section>
  )
}

interface CorpusFieldProps {
  corpora: readonly CorpusRow[]
  value: CorpusChoice | null
  onChange(corpus: CorpusChoice | null): void
}

export function CorpusField({ corpora, value, onChange }: CorpusFieldProps) {
  const id = useId()
  const chosen = corpora.find((row) => row.id === value?.id)
  return (
    <div class="field field-wide">
      <label for={id}>{words.field}</label>
      <select
        id={id}
        name="corpus"
        class="input"
        value={chosen?.id ?? ''}
        aria-describedby={`${id}-hint`}
        onChange={(event) => {
          const row = corpora.find((one) => one.id === event.currentTarget.value)
          onChange(row === undefined ? null : { id: row.id, vocabSize: row.vocabSize })
        }}
      >
        <option value="">{words.embedded}</option>
        {corpora.map((row) => (
          <option key={row.id} value={row.id}>
            {row.name}
          </option>
        ))}
      </select>
      <p id={`${id}-hint`} class="hint">
        {chosen === undefined
          ? words.embeddedHint
          : words.hint(compact(chosen.tokens), bytesPerToken(chosen), integer(chosen.vocabSize))}
      </p>
    </div>
  )
}

const bytesPerToken = ({ bytes, tokens }: CorpusRow): string =>
  tokens > 0 ? (bytes / tokens).toFixed(2) : '–'
