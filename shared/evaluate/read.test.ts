import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PotluckError } from '../protocol/errors.ts'
import { readExamples } from './read.ts'
import { TASK_NAMES, type TaskName } from './tasks.ts'

const file = (...rows: unknown[]) => ({
  name: 'rows.jsonl',
  text: rows.map((row) => (typeof row === 'string' ? row : JSON.stringify(row))).join('\n'),
})
const RAW = { ind: 4, activity_label: 'Cooking', ctx_a: 'A pot boils.', ctx_b: 'the lid', split: 'val' }
const PIQA = { goal: 'Boil water', sol1: 'Heat it.', sol2: 'Cool it.' }
const labels = (text: string) => ({ name: 'labels.lst', text })

describe('files of examples', () => {
  it('of HellaSwag are read as published, and with the context made already', () => {
    const endings = ['[step]jumps.', 'rests.']
    const wanted = { context: 'Cooking: A pot boils. The lid', choices: ['jumps.', 'rests.'], gold: 1 }
    for (const label of [1, '1'])
      expect(readExamples('hellaswag', [file({ ...RAW, endings, label })])).toEqual([wanted])
    const ready = { query: wanted.context, endings: wanted.choices, label: 1 }
    expect(readExamples('hellaswag', [file(ready)])).toEqual([wanted])
  })

  it('of PIQA are read with labels inside or in a file that follows', () => {
    const wanted = { context: 'Question: Boil water\nAnswer:', choices: ['Heat it.', 'Cool it.'], gold: 0 }
    expect(readExamples('piqa', [file({ ...PIQA, label: 0 })])).toEqual([wanted])
    expect(readExamples('piqa', [file(PIQA, '', PIQA), labels('0\n1\n')])).toEqual([
      wanted,
      { ...wanted, gold: 1 },
    ])
  })

  it('of ARC are read in all three forms', () => {
    const wanted = { context: 'Question: What is hot?\nAnswer:', choices: ['ice', 'fire'], gold: 1 }
    const forms = [
      { id: 'x', question: 'What is hot?', choices: ['ice', 'fire'], gold: 1 },
      { question: 'What is hot?', choices: { text: ['ice', 'fire'], label: ['1', '2'] }, answerKey: '2' },
      {
        question: {
          stem: 'What is hot?',
          choices: [
            { text: 'ice', label: 'A' },
            { text: 'fire', label: 'B' },
          ],
        },
        answerKey: 'B',
      },
    ]
    for (const form of forms) expect(readExamples('arc_easy', [file(form)])).toEqual([wanted])
  })

  it.each<[TaskName, ReturnType<typeof file>[], string]>([
    ['piqa', [file({ ...PIQA, label: 0 }, '', '{"goal"')], 'rows.jsonl, line 3: it is no JSON'],
    ['piqa', [file(PIQA)], 'rows.jsonl, line 1: label: there is none'],
    ['piqa', [file({ ...PIQA, label: 2 })], 'line 1: the right answer is none of the 2 choices'],
    ['piqa', [file({ ...PIQA, sol2: '', label: 0 })], 'line 1: choice 2 is empty'],
    ['piqa', [file(PIQA), labels('0\n1\n')], 'labels.lst has 2 labels for 1 examples in rows.jsonl'],
    ['piqa', [file(PIQA), labels('yes\n')], 'labels.lst, line 1: "yes" is no label'],
    ['piqa', [labels('0')], 'labels.lst holds labels, and no file of examples stands before it'],
    ['hellaswag', [file({ ...RAW, endings: ['a', 'b'], label: '' })], 'rows.jsonl, line 1: label: '],
    ['hellaswag', [file({ ...RAW, endings: 'a', label: 0 })], 'rows.jsonl, line 1: endings: '],
    ['hellaswag', [file([1])], 'rows.jsonl, line 1: the row: '],
    [
      'arc_easy',
      [file({ question: 'Q', choices: { text: ['a', 'b'], label: ['A', 'B'] }, answerKey: 'C' })],
      'line 1: the right answer is none of the 2 choices',
    ],
    ['arc_easy', [file('null')], 'rows.jsonl, line 1: the row: '],
    [
      'arc_easy',
      [file({ question: 'x'.repeat(20_001), choices: ['a', 'b'], gold: 0 })],
      'line 1: question: ',
    ],
    ['arc_easy', [file('', ' ')], 'There is no example in it'],
  ])('%s: %j is refused with the place', (task, files, message) => {
    expect(() => readExamples(task, files)).toThrow(
      expect.objectContaining({ code: 'bad-task', message: expect.stringContaining(message) }),
    )
  })

  it('whatever stands in them give examples or one error of ours', () => {
    const value = fc.jsonValue({ maxDepth: 3 })
    const field = fc.constantFrom(
      ...['query', 'endings', 'label', 'activity_label', 'ctx_a', 'ctx_b', 'goal', 'sol1', 'sol2'],
      ...['question', 'choices', 'gold', 'answerKey', 'text', 'stem', '__proto__'],
    )
    const few = fc.oneof(value, fc.array(fc.string(), { maxLength: 3 }), fc.nat(3), fc.string())
    const row = fc.oneof(
      fc.dictionary(field, few).map((row) => JSON.stringify(row)),
      fc.string(),
      value.map((v) => JSON.stringify(v)),
    )
    const anyFile = fc.record({
      name: fc.constantFrom('a.jsonl', 'b.lst'),
      text: fc.oneof(
        fc.array(row, { maxLength: 4 }).map((rows) => rows.join('\n')),
        fc.string(),
      ),
    })
    fc.assert(
      fc.property(fc.constantFrom(...TASK_NAMES), fc.array(anyFile, { maxLength: 3 }), (task, files) => {
        try {
          for (const { choices, gold } of readExamples(task, files))
            expect(choices[gold]).toBeTypeOf('string')
        } catch (error) {
          if (!(error instanceof PotluckError && error.code === 'bad-task')) throw error
        }
      }),
      { numRuns: 1_000 },
    )
  })
})
