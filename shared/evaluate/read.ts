/**
 * Files of examples as they are published: JSON Lines, and PIQA's labels in a file of their own. What is wrong is told
 * with the file and the line. Fetching and unpacking is coordinator/tasks'.
 */
import { z } from 'zod'
import { PotluckError } from '../protocol/errors.ts'
import { LIMITS } from '../protocol/limits.ts'
import { arcExample, type Example, hellaSwagExample, piqaExample, type TaskName } from './tasks.ts'

export interface ExampleFile {
  /** As the operator named it. */
  readonly name: string
  readonly text: string
}

const { examples: MOST_EXAMPLES, characters, choices: MOST_CHOICES } = LIMITS.tasks
const text = z.string().min(1).max(characters)
const anyText = z.string().max(characters)
const index = z.union([z.number(), z.string().regex(/^\d+$/).transform(Number)]).pipe(z.int().min(0).max(99))
const several = z.array(anyText).min(2).max(MOST_CHOICES)

/** As its authors publish it; a file has more fields than these. */
const hellaSwagRow = z.object({
  activity_label: anyText,
  ctx_a: anyText,
  ctx_b: anyText,
  endings: several,
  label: index,
})
/** Context and endings are cleaned already. */
const hellaSwagReady = z.object({ query: text, endings: several, label: index })
const piqaRow = z.object({ goal: anyText, sol1: anyText, sol2: anyText, label: index.optional() })
const arcReady = z.object({ question: text, choices: several, gold: index })
const labels = z.array(z.string().min(1).max(20)).max(MOST_CHOICES)
const answerKey = z.string().min(1).max(20)
/** Hugging Face's rows, and AI2's own. */
const arcHub = z.object({
  question: text,
  choices: z.object({ text: several, label: labels }),
  answerKey,
})
const arcOwn = z.object({
  question: z.object({
    stem: text,
    choices: z
      .array(z.object({ text: anyText, label: z.string().min(1).max(20) }))
      .min(2)
      .max(MOST_CHOICES),
  }),
  answerKey,
})

/** A row as an example; `label` is what stood in the labels' file, if there is one. */
type Reader = (row: unknown, label: number | undefined) => Example

const READERS: Record<TaskName, Reader> = {
  hellaswag(row) {
    if (has(row, 'query')) {
      const { query, endings, label } = hellaSwagReady.parse(row)
      return { context: query, choices: endings, gold: label }
    }
    const { activity_label, ctx_a, ctx_b, ...rest } = hellaSwagRow.parse(row)
    return hellaSwagExample({ activity: activity_label, contextA: ctx_a, contextB: ctx_b, ...rest })
  },
  piqa(row, given) {
    const { goal, sol1, sol2, label = given } = piqaRow.parse(row)
    if (label === undefined) throw new Error('label: there is none, and no file of labels (.lst) follows')
    return piqaExample({ goal, solutions: [sol1, sol2], label })
  },
  arc_easy(row) {
    if (has(row, 'gold')) return arcExample(arcReady.parse(row))
    if (has(row, 'choices')) {
      const { question, choices, answerKey } = arcHub.parse(row)
      return arcExample({ question, choices: choices.text, gold: choices.label.indexOf(answerKey) })
    }
    const { question, answerKey } = arcOwn.parse(row)
    const { stem, choices } = question
    const gold = choices.findIndex(({ label }) => label === answerKey)
    return arcExample({ question: stem, choices: choices.map((choice) => choice.text), gold })
  },
}

const has = (row: unknown, key: string): boolean =>
  typeof row === 'object' && row !== null && Object.hasOwn(row, key)

/**
 * All examples of the files, in their order. A file `.lst` holds the labels of the file before it, one a line.
 * @throws PotluckError `bad-task` with the file and the line; the first fault only.
 */
export function readExamples(task: TaskName, files: readonly ExampleFile[]): Example[] {
  const examples: Example[] = []
  for (const [i, file] of files.entries()) {
    if (isLabels(file)) continue
    const next = files[i + 1]
    const labelled = next && isLabels(next) ? labelsOf(next) : null
    const rows = linesOf(file)
    if (next && labelled && labelled.length !== rows.length) {
      const counts = `${labelled.length} labels for ${rows.length} examples in ${file.name}`
      throw new PotluckError('bad-task', `${next.name} has ${counts}.`)
    }
    for (const [n, { line, text }] of rows.entries()) {
      examples.push(exampleOf(READERS[task], text, labelled?.[n], `${file.name}, line ${line}`))
      if (examples.length > MOST_EXAMPLES)
        throw new PotluckError('bad-task', `${file.name} has more than ${MOST_EXAMPLES} examples.`)
    }
  }
  if (files[0] && isLabels(files[0]))
    throw new PotluckError(
      'bad-task',
      `${files[0].name} holds labels, and no file of examples stands before it.`,
    )
  if (examples.length === 0) throw new PotluckError('bad-task', 'There is no example in it.')
  return examples
}

const isLabels = ({ name }: ExampleFile): boolean => /\.lst(\.gz)?$/i.test(name.replace(/[?#].*$/, ''))

/** Lines with something in them, counted from 1. */
const linesOf = ({ text }: ExampleFile): { line: number; text: string }[] =>
  text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .map((text, i) => ({ line: i + 1, text }))
    .filter(({ text }) => text.trim() !== '')

const labelsOf = (file: ExampleFile): number[] =>
  linesOf(file).map(({ line, text }) => {
    const parsed = index.safeParse(text.trim())
    if (parsed.success) return parsed.data
    throw new PotluckError('bad-task', `${file.name}, line ${line}: "${text.slice(0, 40)}" is no label.`)
  })

function exampleOf(read: Reader, text: string, label: number | undefined, place: string): Example {
  try {
    const example = read(JSON.parse(text), label)
    const empty = example.choices.indexOf('')
    if (empty >= 0) throw new Error(`choice ${empty + 1} is empty`)
    if (example.gold >= 0 && example.gold < example.choices.length) return example
    throw new Error(`the right answer is none of the ${example.choices.length} choices`)
  } catch (error) {
    throw new PotluckError('bad-task', `${place}: ${faultOf(error)}.`)
  }
}

function faultOf(error: unknown): string {
  if (error instanceof z.ZodError) {
    const [issue] = error.issues
    return `${issue?.path.join('.') || 'the row'}: ${issue?.message ?? 'wrong'}`
  }
  if (error instanceof SyntaxError) return `it is no JSON: ${error.message}`
  return error instanceof Error ? error.message : String(error)
}
