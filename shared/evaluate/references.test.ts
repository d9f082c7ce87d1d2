/**
 * Against what others computed from the published data: the harness's own results of a seeded random scorer, and the
 * requests that OLMo's evaluation made. The data is in ../shared/data of the checkout and never in the repository.
 */
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { readExamples } from './read.ts'
import { added, NO_TALLY, scoreOf, tallyOf } from './score.ts'
import { type Example, requestsOf, type TaskName } from './tasks.ts'
import { PythonRandom } from './testing.ts'

const DATA = fileURLToPath(new URL('../../../shared/data/', import.meta.url))
const HERE = existsSync(`${DATA}refs`)
const read = (name: string) => readFileSync(DATA + name, 'utf8')
const FILES: Record<TaskName, string[]> = {
  hellaswag: ['hellaswag_val.jsonl'],
  piqa: ['piqa_valid.jsonl', 'piqa_valid-labels.lst'],
  arc_easy: ['arc_easy_test.jsonl'],
}
const examplesOf = (task: TaskName): Example[] =>
  readExamples(
    task,
    FILES[task].map((name) => ({ name, text: read(name) })),
  )

describe.skipIf(!HERE)(`with the published data in ${DATA}, if it is there`, () => {
  // lm-evaluation-harness' tests/testdata: random.seed(42) before −random() a request, examples shuffled by another
  // generator of the same seed.
  it.each(['hellaswag', 'piqa', 'arc_easy'] as const)(
    'a seeded random scorer gives exactly the harness’s results in %s: chance',
    (task) => {
      const random = new PythonRandom(42)
      const tally = new PythonRandom(42)
        .shuffled(examplesOf(task))
        .map((example) =>
          tallyOf(
            example,
            requestsOf(example).map(() => -random.random()),
          ),
        )
        .reduce(added, NO_TALLY)
      const wanted = JSON.parse(read(`refs/lm_eval_random_${task}-v0-res.json`)).results[task]
      const { plain, normalised, chance } = scoreOf(tally)
      expect(plain.accuracy).toBe(wanted.acc)
      expect(normalised.accuracy).toBe(wanted.acc_norm)
      expect(plain.standardError).toBeCloseTo(wanted.acc_stderr, 14)
      expect(normalised.standardError).toBeCloseTo(wanted.acc_norm_stderr, 14)
      expect(Math.abs(plain.accuracy - chance)).toBeLessThan(3 * plain.standardError)
    },
  )

  it('PIQA’s requests are OLMo’s, which says Goal where the harness says Question', () => {
    const wanted = requestsIn('refs/olmo_piqa_rc_0shot_requests.jsonl.gz', 1_838)
    const made = examplesOf('piqa').map(requestsOf)
    for (const [i, requests] of made.entries()) {
      const inTheirWords = requests.map(({ context, continuation }) => ({
        context: context.replace(/^Question:/, 'Goal:'),
        continuation,
      }))
      expect(inTheirWords).toEqual(wanted[i])
    }
  })

  it('ARC’s requests are OLMo’s', () => {
    const all = rowsIn('refs/olmo_arc_easy_rc_0shot_requests.jsonl.gz')
    const rows = all.filter(({ request }) => request.context !== 'Answer:') // which asks how likely a choice is at all
    const documents = new Map(rows.map(({ doc_id, doc }) => [doc_id, doc]))
    const text = [...documents.values()]
      .map(({ query, ...rest }) => JSON.stringify({ question: query.slice(10, -8), ...rest }))
      .join('\n')
    const made = readExamples('arc_easy', [{ name: 'olmo', text }])
    expect(made.length).toBeGreaterThan(500)
    expect(made.flatMap(requestsOf)).toEqual(rows.map(({ request }) => request))
  })
})

interface Row {
  doc_id: number
  doc: { query: string; choices: string[]; gold: number }
  request: { context: string; continuation: string }
}

const rowsIn = (file: string): Row[] =>
  gunzipSync(readFileSync(DATA + file))
    .toString('utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))

/** Of the first documents, by document. */
function requestsIn(file: string, documents: number) {
  const rows = rowsIn(file)
  return Array.from({ length: documents }, (_, id) =>
    rows.filter(({ doc_id }) => doc_id === id).map(({ request }) => request),
  )
}
