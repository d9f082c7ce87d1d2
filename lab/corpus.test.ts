/** A corpus from the command line to a tab: imported beside a running coordinator, chosen for a run, leased, fetched, read. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { CorpusCache } from '../client/swarm/corpusCache.ts'
import { runCommand } from '../coordinator/cli/command.ts'
import { corpusCommand } from '../coordinator/cli/corpus.ts'
import type { Coordinator } from '../coordinator/coordinator.ts'
import { openFileBlobStore } from '../coordinator/store/fileBlobs.ts'
import { call, logInFirst, post, smallRun, startOn, Tab, until } from '../coordinator/testing.ts'
import { manifestFromBytes } from '../shared/corpus/manifest.ts'
import { parameterCount } from '../shared/model/layout.ts'
import { type AdminView, type CorpusRow, ROUTES } from '../shared/protocol/admin.ts'
import { modelOf } from '../shared/protocol/modelOf.ts'
import type { RunConfig } from '../shared/protocol/run.ts'
import { tokenizerFromJSON } from '../shared/tokenizer/json.ts'

let folder: string
let coordinator: Coordinator
let operator: Record<string, string>
let config: RunConfig
const printed: string[] = []
const texts = Array.from(
  { length: 200 },
  (_, i) => `Dish ${i}: ${'soup of the day, pot of the night; '.repeat(3)}`,
)

const potluck = (...argv: string[]) =>
  runCommand({ corpus: corpusCommand }, ['corpus', ...argv, '--data', folder], {
    environment: {},
    print: (line) => printed.push(line),
  })
async function listed(): Promise<readonly CorpusRow[]> {
  const { body } = await call(coordinator.url + ROUTES.adminView, { headers: operator })
  return (body as AdminView).corpora // the route's contract
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'potluck-corpus-'))
  coordinator = await startOn(folder)
  operator = await logInFirst(coordinator)
  const file = join(folder, 'dishes.txt')
  await writeFile(file, texts.join('\n\n'))
  await potluck(
    'add',
    file,
    '--name',
    'Dishes',
    '--vocab',
    '300',
    '--separator',
    '\\n\\n',
    '--licence',
    'CC0-1.0',
  )
})
afterAll(async () => {
  await coordinator?.stop()
  await rm(folder, { recursive: true, force: true })
})

it('is listed in the panel and on the command line, with its counts and a sample', async () => {
  const [row] = await listed()
  expect(row).toMatchObject({ name: 'Dishes', licence: 'CC0-1.0', vocabSize: 300, documents: 200, broken: 0 })
  expect(texts.map((text) => text.trim())).toContain(row?.sample)
  expect(printed.join('\n')).toMatch(
    /200 documents, [\d,]+ tokens to train on .* bytes per token, 0 broken lines/,
  )
  await potluck('list')
  expect(printed.at(-1)).toContain('Dishes: 200 documents')
  config = { ...smallRun, corpus: { id: row?.id ?? '', vocabSize: 300 } }
})

it('is refused by another name or with another vocabulary', async () => {
  const create = (corpus: object) =>
    post(coordinator.url + ROUTES.adminRuns, { ...smallRun, corpus }, operator)
  expect(await create({ id: 'nobody-00', vocabSize: 300 })).toMatchObject({ status: 404 })
  const wrong = await create({ ...config.corpus, vocabSize: 301 })
  expect(wrong).toMatchObject({ status: 400, body: { error: { code: 'bad-config' } } })
})

it('gives a run its vocabulary and a tab its text', async () => {
  expect(await post(coordinator.url + ROUTES.adminRuns, config, operator)).toMatchObject({ status: 200 })
  await until(() => coordinator.runs.view()?.status === 'ready', 'the prepared run')
  expect(coordinator.runs.view()?.parameters).toBe(parameterCount({ ...modelOf(config), vocabSize: 300 }))
  await post(coordinator.url + ROUTES.adminRunAction('start'), {}, operator)
  const tabs = [await Tab.joined(coordinator.url), await Tab.joined(coordinator.url)]
  const lease = await (tabs[0] as Tab).lease()
  const view = coordinator.runs.view()
  if (!view) throw new Error('There is no run.')
  const here: typeof fetch = (path, init) => fetch(coordinator.url + String(path), init)
  const cache = new CorpusCache({ fetch: here, keep: false })
  const tokens = await cache.sequences(lease, view, new AbortController().signal, () => undefined)
  expect(tokens.length).toBe(lease.steps * lease.batchSize * (modelOf(config).sequenceLength + 1))
  const blobs = await openFileBlobStore(join(folder, 'blobs'))
  const { tokenizer } = manifestFromBytes(await blobs.get(view.manifest ?? ''))
  const text = tokenizerFromJSON(await blobs.get(tokenizer)).decode(tokens)
  expect(text).toContain('soup of the day')
  for (const tab of tabs) tab.close()
}, 60_000)

it('is what the held-out loss is measured on', async () => {
  await until(() => coordinator.runs.view()?.initialValLoss !== null, 'the first evaluation')
  // An untrained model gives all of 300 tokens about the same chance.
  expect(coordinator.runs.view()?.initialValLoss).toBeCloseTo(Math.log(300), 0)
  expect(coordinator.runs.view()?.initialBitsPerByte).toBeGreaterThan(0)
}, 60_000)

it('stays while a run trains on it, and goes when it is told to', async () => {
  const [row] = await listed()
  await expect(potluck('remove', row?.id ?? '')).rejects.toMatchObject({ code: 'run-state' })
  await post(coordinator.url + ROUTES.adminRunAction('end'), {}, operator)
  await potluck('remove', row?.id ?? '')
  expect(await listed()).toEqual([])
})
