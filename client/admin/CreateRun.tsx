/** The form that creates a run: sane defaults per preset, an estimate that follows the fields, faults by the field. */
import { useId, useRef, useState } from 'preact/hooks'
import { CODEC_NAMES } from '../../shared/codec/codec.ts'
import { PRESET_NAMES, type PresetName } from '../../shared/model/config.ts'
import { parameterCount } from '../../shared/model/layout.ts'
import type { AdminView } from '../../shared/protocol/admin.ts'
import type { StartRequest } from '../../shared/protocol/checkpoints.ts'
import { EVALUATION_WAYS } from '../../shared/protocol/evaluation.ts'
import { modelOf } from '../../shared/protocol/modelOf.ts'
import { type CorpusChoice, DOWNLINK_CODECS } from '../../shared/protocol/run.ts'
import { bytes, compact, duration, integer } from '../ui/format.ts'
import { Icon } from '../ui/Icon.tsx'
import { Button, Fact, Notice } from '../ui/parts.tsx'
import { strings } from '../ui/strings.ts'
import { api, errorText } from './api.ts'
import { CorpusField } from './Corpora.tsx'
import { checkForm, estimate, type Faults, type FieldName, formOf, type RunForm } from './runForm.ts'
import { StartFrom, type Starts } from './StartFrom.tsx'

const words = strings.admin.form

type TextField = Exclude<FieldName, 'preset'>

const GROUPS: [title: string, fields: TextField[]][] = [
  [words.model, ['name']],
  [words.round, ['innerSteps', 'batchSize', 'replicas', 'quorum', 'deadlineSeconds', 'rounds', 'strict']],
  [words.traffic, ['codec', 'downlink', 'errorFeedback', 'fragments', 'overlap']],
  [words.groups, ['groupSize', 'auditRate']],
  [words.optimiser, ['innerLearningRate', 'outerLearningRate', 'outerMomentum', 'seed']],
  [words.measuring, ['evaluation', 'tasksEvery', 'taskExamples', 'taskNames']],
  [words.checkpoints, ['keepLast', 'keepEvery', 'keepBest']],
]

const YES_NO = ['true', 'false']
/** Fields with a few values to choose from. */
const CHOICES: Partial<Record<TextField, readonly string[]>> = {
  codec: CODEC_NAMES,
  downlink: DOWNLINK_CODECS,
  overlap: YES_NO,
  strict: YES_NO,
  evaluation: EVALUATION_WAYS,
}

/** Fields that hold words; every other one brings up a keyboard with digits. */
const WORDS: TextField[] = ['name', 'seed', 'outerLearningRate', 'taskNames']

interface CreateRunProps {
  starts: Starts
  corpora: AdminView['corpora']
  now: number
}

export function CreateRun({ starts, corpora, now }: CreateRunProps) {
  const [form, setForm] = useState<RunForm>(formOf('nano'))
  const [start, setStart] = useState<StartRequest | null>(null)
  const [corpus, setCorpus] = useState<CorpusChoice | null>(null)
  const [tried, setTried] = useState(false)
  const [busy, setBusy] = useState(false)
  const [refusal, setRefusal] = useState<string | null>(null)
  const element = useRef<HTMLFormElement>(null)
  const checked = checkForm(form, corpus)
  const faults: Faults = tried && !checked.ok ? checked.faults : {}

  const choosePreset = (preset: PresetName) => {
    setForm(formOf(preset))
    setStart(null)
  }
  const chooseCorpus = (chosen: CorpusChoice | null) => {
    setCorpus(chosen)
    setStart(null)
  }
  const submit = async () => {
    setTried(true)
    setRefusal(null)
    if (!checked.ok) {
      const first = Object.keys(form).find((field) => field in checked.faults)
      element.current?.querySelector<HTMLInputElement>(`[name="${first}"]`)?.focus()
      return
    }
    setBusy(true)
    try {
      await (start === null ? api.create(checked.config) : api.createFrom(checked.config, start))
    } catch (error) {
      setRefusal(errorText(error))
    } finally {
      setBusy(false)
    }
  }
  return (
    <form
      ref={element}
      class="create"
      noValidate
      onSubmit={(event) => {
        event.preventDefault()
        void submit()
      }}
    >
      {GROUPS.map(([title, fields]) => (
        <fieldset key={title} class="create-group">
          <legend>{title}</legend>
          {title === words.model && <PresetField form={form} corpus={corpus} onChange={choosePreset} />}
          {title === words.model && <CorpusField corpora={corpora} value={corpus} onChange={chooseCorpus} />}
          {fields.map((field) => (
            <Field
              key={field}
              field={field}
              value={form[field]}
              fault={faults[field]}
              onInput={(value) => setForm({ ...form, [field]: value })}
            />
          ))}
        </fieldset>
      ))}
      <fieldset class="create-group">
        <legend>{strings.admin.start.title}</legend>
        <StartFrom
          preset={form.preset}
          vocabSize={modelOf({ preset: form.preset, corpus }).vocabSize}
          starts={starts}
          now={now}
          value={start}
          onChange={setStart}
        />
      </fieldset>
      <Estimate form={form} corpus={corpus} />
      <div class="create-end">
        {Object.keys(faults).length > 0 && <Complaint text={words.check} />}
        {refusal !== null && <Complaint text={refusal} />}
        <Button kind="primary" type="submit" disabled={busy}>
          {busy ? words.creating : words.create}
        </Button>
      </div>
    </form>
  )
}

function Complaint({ text }: { text: string }) {
  return (
    <Notice tone="danger" icon="late">
      <p role="alert">{text}</p>
    </Notice>
  )
}

interface PresetFieldProps {
  form: RunForm
  corpus: CorpusChoice | null
  onChange(preset: PresetName): void
}

function PresetField({ form, corpus, onChange }: PresetFieldProps) {
  const id = useId()
  const chosen = modelOf({ preset: form.preset, corpus })
  return (
    <div class="field field-wide">
      <label for={id}>{words.preset}</label>
      <select
        id={id}
        class="input"
        value={form.preset}
        aria-describedby={`${id}-hint`}
        onChange={(event) => {
          const preset = PRESET_NAMES.find((name) => name === event.currentTarget.value)
          if (preset !== undefined) onChange(preset)
        }}
      >
        {PRESET_NAMES.map((name) => (
          <option key={name} value={name}>
            {name}
          </option>
        ))}
      </select>
      <p id={`${id}-hint`} class="hint">
        {words.presetOption({
          name: form.preset,
          parameters: compact(parameterCount(chosen)),
          layers: integer(chosen.layers),
          width: integer(chosen.dModel),
          sequence: integer(chosen.sequenceLength),
        })}
      </p>
    </div>
  )
}

interface FieldProps {
  field: TextField
  value: string
  fault: string | undefined
  onInput(value: string): void
}

function Field({ field, value, fault, onInput }: FieldProps) {
  const id = useId()
  const choices = CHOICES[field]
  const common = {
    id,
    name: field,
    class: 'input',
    value,
    'aria-invalid': fault !== undefined,
    'aria-describedby': fault === undefined ? `${id}-hint` : `${id}-fault ${id}-hint`,
  }
  return (
    <div class="field">
      <label for={id}>{words[field]}</label>
      {choices === undefined ? (
        <input
          {...common}
          type="text"
          inputMode={WORDS.includes(field) ? 'text' : 'decimal'}
          autocomplete="off"
          onInput={(event) => onInput(event.currentTarget.value)}
        />
      ) : (
        <select {...common} onChange={(event) => onInput(event.currentTarget.value)}>
          {choices.map((choice) => (
            <option key={choice} value={choice}>
              {words.choices[choice] ?? choice}
            </option>
          ))}
        </select>
      )}
      {fault !== undefined && (
        <p id={`${id}-fault`} class="fault">
          <Icon name="late" />
          {fault}
        </p>
      )}
      <p id={`${id}-hint`} class="hint">
        {words[`${field}Hint`]}
      </p>
    </div>
  )
}

function Estimate({ form, corpus }: { form: RunForm; corpus: CorpusChoice | null }) {
  const numbers = estimate(form, corpus)
  return (
    <section class="create-estimate">
      <h3>{words.estimate}</h3>
      <dl class="facts">
        <Fact label={words.parameters}>{compact(numbers.parameters)}</Fact>
        <Fact label={words.upload}>{bytes(numbers.uploadBytes)}</Fact>
        <Fact label={words.download}>{bytes(numbers.downloadBytes)}</Fact>
        <Fact label={words.snapshot}>{bytes(numbers.snapshotBytes)}</Fact>
        <Fact label={words.onDisk}>{bytes(numbers.checkpointsBytes)}</Fact>
        <Fact label={words.tokensRound}>{compact(numbers.tokensPerRound)}</Fact>
        <Fact label={words.tokensAll}>{compact(numbers.tokensInAll)}</Fact>
        <Fact label={words.longest}>{duration(numbers.longest)}</Fact>
      </dl>
    </section>
  )
}
