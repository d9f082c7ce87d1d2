/**
 * The form that creates a run, without its inputs: text in every field, from defaults to a checked RunConfig or a
 * sentence for each field that will not do, and the estimate beside it.
 */
import type { z } from 'zod'
import { CODECS, type CodecName } from '../../shared/codec/codec.ts'
import { TASK_NAMES } from '../../shared/evaluate/tasks.ts'
import type { PresetName } from '../../shared/model/config.ts'
import { parameterCount } from '../../shared/model/layout.ts'
import { defaultRunConfig } from '../../shared/protocol/defaults.ts'
import { modelOf } from '../../shared/protocol/modelOf.ts'
import { type CorpusChoice, type RunConfig, runConfigSchema } from '../../shared/protocol/run.ts'
import { significant } from '../ui/format.ts'
import { strings } from '../ui/strings.ts'

export type FieldName =
  | Exclude<keyof RunConfig, 'checkpoints' | 'tasks' | 'corpus'>
  | keyof typeof KEPT
  | keyof typeof TASKS
/** Fields that are one in the config. */
const KEPT = { keepLast: 'last', keepEvery: 'every', keepBest: 'best' } as const
const TASKS = { tasksEvery: 'every', taskExamples: 'examples', taskNames: 'names' } as const
/** What stands in the inputs. */
export type RunForm = Record<FieldName, string> & { preset: PresetName }
export type Faults = Partial<Record<FieldName, string>>

const words = strings.admin.faults

export function formOf(preset: PresetName): RunForm {
  const config = defaultRunConfig(preset)
  const text = (field: keyof RunConfig) => String(config[field])
  return {
    preset,
    name: text('name'),
    innerSteps: text('innerSteps'),
    batchSize: text('batchSize'),
    replicas: text('replicas'),
    quorum: text('quorum'),
    deadlineSeconds: text('deadlineSeconds'),
    rounds: text('rounds'),
    strict: text('strict'),
    fragments: text('fragments'),
    codec: text('codec'),
    downlink: text('downlink'),
    errorFeedback: text('errorFeedback'),
    overlap: text('overlap'),
    innerLearningRate: text('innerLearningRate'),
    outerLearningRate: text('outerLearningRate'),
    outerMomentum: text('outerMomentum'),
    seed: text('seed'),
    groupSize: text('groupSize'),
    auditRate: text('auditRate'),
    evaluation: text('evaluation'),
    keepLast: String(config.checkpoints.last),
    keepEvery: String(config.checkpoints.every),
    keepBest: String(config.checkpoints.best),
    tasksEvery: String(config.tasks.every),
    taskExamples: String(config.tasks.examples),
    taskNames: config.tasks.names.join(', '),
  }
}

const toNumber = (text: string) => (text.trim() === '' ? Number.NaN : Number(text))

/** The form as a config that nobody has checked. */
function rawConfig(form: RunForm, corpus: CorpusChoice | null): Record<keyof RunConfig, unknown> {
  const outer = form.outerLearningRate.trim()
  return {
    name: form.name,
    preset: form.preset,
    corpus,
    innerSteps: toNumber(form.innerSteps),
    batchSize: toNumber(form.batchSize),
    replicas: toNumber(form.replicas),
    quorum: toNumber(form.quorum),
    deadlineSeconds: toNumber(form.deadlineSeconds),
    rounds: toNumber(form.rounds),
    strict: form.strict === 'true',
    fragments: toNumber(form.fragments),
    codec: form.codec,
    downlink: form.downlink,
    errorFeedback: toNumber(form.errorFeedback),
    overlap: form.overlap === 'true',
    innerLearningRate: toNumber(form.innerLearningRate),
    outerLearningRate: outer.toLowerCase() === 'auto' ? 'auto' : toNumber(outer),
    outerMomentum: toNumber(form.outerMomentum),
    seed: form.seed,
    groupSize: toNumber(form.groupSize),
    auditRate: toNumber(form.auditRate),
    evaluation: form.evaluation,
    checkpoints: {
      last: toNumber(form.keepLast),
      every: toNumber(form.keepEvery),
      best: toNumber(form.keepBest),
    },
    tasks: {
      every: toNumber(form.tasksEvery),
      examples: toNumber(form.taskExamples),
      names: form.taskNames.split(/[\s,]+/).filter((name) => name !== ''),
    },
  }
}

type Issue = z.core.$ZodIssue

function faultText(field: FieldName, issue: Issue): string {
  if (field === 'outerLearningRate') return words.autoOrNumber
  if (field === 'taskNames') return words.taskNames(TASK_NAMES.join(', '))
  switch (issue.code) {
    case 'invalid_type':
      return issue.expected === 'int' ? words.whole : words.number
    case 'too_small':
      if (issue.origin === 'string') return words.missing
      return (issue.inclusive === false ? words.moreThan : words.atLeast)(significantOrWhole(issue.minimum))
    case 'too_big':
      return (issue.origin === 'string' ? words.characters : words.atMost)(significantOrWhole(issue.maximum))
    case 'custom':
      if (field === 'groupSize') return words.groupsSparse
      if (field === 'fragments') return words.fragmentsDivide
      return field === 'quorum' ? words.quorum : issue.message
    default:
      return issue.message
  }
}

const significantOrWhole = (limit: number | bigint) =>
  Number.isInteger(Number(limit)) ? Number(limit).toLocaleString('en') : significant(Number(limit))

export type Checked = { ok: true; config: RunConfig } | { ok: false; faults: Faults }

/** All faults at once, the first sentence per field. */
export function checkForm(form: RunForm, corpus: CorpusChoice | null = null): Checked {
  const parsed = runConfigSchema.safeParse(rawConfig(form, corpus))
  if (parsed.success) return { ok: true, config: parsed.data }
  const faults: Faults = {}
  for (const issue of parsed.error.issues) {
    const field = fieldOf(issue.path)
    if (isField(form, field)) faults[field] ??= faultText(field, issue)
  }
  // zod leaves a refinement out while a field is wrong; the reader should not have to submit twice.
  const raw = rawConfig(form, corpus)
  if (Number(raw.quorum) > Number(raw.replicas)) faults.quorum ??= words.quorum
  if (Number.isInteger(raw.innerSteps) && Number(raw.innerSteps) % Number(raw.fragments) > 0)
    faults.fragments ??= words.fragmentsDivide
  return { ok: false, faults }
}

function fieldOf([first, second]: readonly PropertyKey[]): unknown {
  if (first !== 'checkpoints' && first !== 'tasks') return first
  const fields = first === 'tasks' ? TASKS : KEPT
  return Object.entries(fields).find(([, rule]) => rule === second)?.[0]
}

const isField = (form: RunForm, field: unknown): field is FieldName =>
  typeof field === 'string' && field in form

/** At the end of the run, at most. */
function checkpointsKept(form: RunForm): number {
  const [last, every, best] = [toNumber(form.keepLast), toNumber(form.keepEvery), toNumber(form.keepBest)]
  const rounds = toNumber(form.rounds)
  return Math.min(rounds, last + best + (every > 0 ? Math.floor(rounds / every) : every))
}

export interface Estimate {
  readonly parameters: number
  /** Of a round, on average over the fragments. */
  readonly uploadBytes: number
  readonly downloadBytes: number
  /** The weights whole, as a newcomer gets them: 32-bit floats. */
  readonly snapshotBytes: number
  /** On the coordinator's disk, all checkpoints together: weights, exact weights and velocity. */
  readonly checkpointsBytes: number
  readonly tokensPerRound: number
  readonly tokensInAll: number
  /** Milliseconds if every round lasts to its deadline. */
  readonly longest: number
}

const isCodec = (name: string): name is CodecName => name in CODECS

/** Unknown parts are NaN and read as "–". */
export function estimate(form: RunForm, corpus: CorpusChoice | null = null): Estimate {
  const model = modelOf({ preset: form.preset, corpus })
  const parameters = parameterCount(model)
  const fragments = toNumber(form.fragments)
  const steps = (toNumber(form.innerSteps) / fragments) * toNumber(form.batchSize)
  const bytesAs = (codec: string) =>
    isCodec(codec) ? CODECS[codec].byteLength(parameters) / fragments : Number.NaN
  const tokensPerRound = steps * model.sequenceLength * toNumber(form.replicas)
  const rounds = toNumber(form.rounds)
  return {
    parameters,
    uploadBytes: bytesAs(form.codec),
    downloadBytes: bytesAs(form.downlink),
    snapshotBytes: 4 * parameters,
    checkpointsBytes: 12 * parameters * checkpointsKept(form),
    tokensPerRound,
    tokensInAll: tokensPerRound * rounds,
    longest: toNumber(form.deadlineSeconds) * 1_000 * rounds,
  }
}
