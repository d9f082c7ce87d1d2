/** What a new run starts from: untrained weights, a checkpoint, or weights from a file, which are brought here. */
import { useId, useState } from 'preact/hooks'
import type { PresetName } from '../../shared/model/config.ts'
import type { AdminView } from '../../shared/protocol/admin.ts'
import type { StartRequest } from '../../shared/protocol/checkpoints.ts'
import { integer, loss, moment } from '../ui/format.ts'
import { strings } from '../ui/strings.ts'
import { api, errorText } from './api.ts'

const words = strings.admin.start

export type Starts = Pick<AdminView, 'checkpoints' | 'imports'>

interface StartFromProps {
  preset: PresetName
  /** Of the model; weights with another do not fit. */
  vocabSize: number
  starts: Starts
  now: number
  value: StartRequest | null
  onChange(start: StartRequest | null): void
}

const keyOf = (start: StartRequest | null) =>
  start === null ? '' : start.kind === 'import' ? start.hash : `${start.run} ${start.round}`

export function StartFrom({ preset, vocabSize, starts, now, value, onChange }: StartFromProps) {
  const id = useId()
  const fits = (row: { preset: PresetName; vocabSize: number }) =>
    row.preset === preset && row.vocabSize === vocabSize
  const checkpoints = starts.checkpoints.filter(fits)
  const imports = starts.imports.filter(fits)
  const options = [
    ...checkpoints.map((row) => ({
      start: { kind: 'checkpoint', run: row.run, round: row.round, moments: 'carried' } as const,
      text: words.checkpoint(row.name, integer(row.round), loss(row.valLoss)),
    })),
    ...imports.map(({ hash, name, at }) => ({
      start: { kind: 'import', hash } as const,
      text: words.imported(name, moment(at, now)),
    })),
  ]
  return (
    <>
      <div class="field field-wide">
        <label for={id}>{words.from}</label>
        <select
          id={id}
          class="input"
          value={keyOf(value)}
          aria-describedby={`${id}-hint`}
          onChange={({ currentTarget }) =>
            onChange(options.find(({ start }) => keyOf(start) === currentTarget.value)?.start ?? null)
          }
        >
          <option value="">{words.untrained}</option>
          {options.map(({ start, text }) => (
            <option key={keyOf(start)} value={keyOf(start)}>
              {text}
            </option>
          ))}
        </select>
        <p id={`${id}-hint`} class="hint">
          {words.fromHint}
        </p>
      </div>
      {value?.kind === 'checkpoint' && (
        <div class="field">
          <label for={`${id}-moments`}>{words.moments}</label>
          <select
            id={`${id}-moments`}
            class="input"
            value={value.moments}
            aria-describedby={`${id}-moments-hint`}
            onChange={({ currentTarget }) =>
              onChange({ ...value, moments: currentTarget.value === 'zero' ? 'zero' : 'carried' })
            }
          >
            <option value="carried">{words.carried}</option>
            <option value="zero">{words.zero}</option>
          </select>
          <p id={`${id}-moments-hint`} class="hint">
            {words.momentsHint}
          </p>
        </div>
      )}
      <Bring preset={preset} vocabSize={vocabSize} onBrought={(hash) => onChange({ kind: 'import', hash })} />
    </>
  )
}

interface BringProps {
  preset: PresetName
  vocabSize: number
  onBrought(hash: string): void
}

function Bring({ preset, vocabSize, onBrought }: BringProps) {
  const id = useId()
  const [note, setNote] = useState<string | null>(null)
  const [refusal, setRefusal] = useState<string | null>(null)
  const bring = async (file: File) => {
    setRefusal(null)
    setNote(words.bringing(file.name))
    try {
      onBrought((await api.bringWeights(preset, vocabSize, file)).hash)
      setNote(words.brought(file.name))
    } catch (error) {
      setNote(null)
      setRefusal(errorText(error))
    }
  }
  return (
    <div class="field">
      <label for={id}>{words.file}</label>
      <input
        id={id}
        class="input"
        type="file"
        accept=".safetensors"
        aria-describedby={`${id}-hint`}
        onChange={({ currentTarget }) => {
          const [file] = currentTarget.files ?? []
          if (file) void bring(file)
        }}
      />
      {refusal !== null && (
        <p class="fault" role="alert">
          {refusal}
        </p>
      )}
      <p id={`${id}-hint`} class="hint" aria-live="polite">
        {note ?? words.fileHint}
      </p>
    </div>
  )
}
