/**
 * The zero-shot tasks, as lm-evaluation-harness defines them (lm_eval/tasks/{hellaswag,piqa,arc}): a context, some
 * continuations, and which of them is right. Reading files of examples is read.ts's, encoding encode.ts's, and what
 * answers are worth score.ts's.
 */
import { capitalize, strip } from './python.ts'

export const TASK_NAMES = ['hellaswag', 'piqa', 'arc_easy'] as const
export type TaskName = (typeof TASK_NAMES)[number]

export interface Example {
  readonly context: string
  /** Without the space that stands before each in a request. */
  readonly choices: readonly string[]
  /** Index of the right one. */
  readonly gold: number
}

export interface Request {
  readonly context: string
  readonly continuation: string
}

/** One request a choice, in their order. The harness's `target_delimiter` is a space. */
export const requestsOf = ({ context, choices }: Example): Request[] =>
  choices.map((choice) => ({ context, continuation: ` ${choice}` }))

/** HellaSwag's own cleaning; brackets are leftovers of WikiHow's markup. Once each, in this order. */
export const cleaned = (text: string): string =>
  strip(text)
    .replaceAll(' [title]', '. ')
    .replaceAll(/\[[^\n]*?\]/g, '')
    .replaceAll('  ', ' ')

export interface HellaSwagRow {
  readonly activity: string
  readonly contextA: string
  readonly contextB: string
  readonly endings: readonly string[]
  readonly label: number
}

export const hellaSwagExample = ({
  activity,
  contextA,
  contextB,
  endings,
  label,
}: HellaSwagRow): Example => ({
  context: cleaned(`${activity}: ${contextA} ${capitalize(contextB)}`),
  choices: endings.map(cleaned),
  gold: label,
})

export interface PiqaRow {
  readonly goal: string
  readonly solutions: readonly [string, string]
  readonly label: number
}

export const piqaExample = ({ goal, solutions, label }: PiqaRow): Example => ({
  context: `Question: ${goal}\nAnswer:`,
  choices: solutions,
  gold: label,
})

export interface ArcRow {
  readonly question: string
  readonly choices: readonly string[]
  readonly gold: number
}

export const arcExample = ({ question, choices, gold }: ArcRow): Example => ({
  context: `Question: ${question}\nAnswer:`,
  choices,
  gold,
})
