/** Zero-shot tasks by the real process and engine, against the f64 reference, and in a whole coordinator. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { floatsToBytes } from '../../shared/codec/floats.ts'
import { manifestToBytes } from '../../shared/corpus/manifest.ts'
import { encodeShard } from '../../shared/corpus/shard.ts'
import { referenceLosses } from '../../shared/engine/reference.ts'
import { encodeRequest } from '../../shared/evaluate/encode.ts'
import { logLikelihoods } from '../../shared/evaluate/likelihoods.ts'
import { added, NO_TALLY, type Tally, tallyOf } from '../../shared/evaluate/score.ts'
import { piqaExample, requestsOf } from '../../shared/evaluate/tasks.ts'
import { PRESETS } from '../../shared/model/config.ts'
import { initialParameters } from '../../shared/model/initial.ts'
import { ROUTES } from '../../shared/protocol/admin.ts'
import { tokenizerToBytes } from '../../shared/tokenizer/json.ts'
import { trainTokenizer } from '../../shared/tokenizer/train.ts'
import type { Coordinator } from '../coordinator.ts'
import type { BlobStore } from '../store/blobs.ts'
import { openFileBlobStore } from '../store/fileBlobs.ts'
import type { MetadataStore } from '../store/metadata.ts'
import { openSqliteStore } from '../store/sqlite.ts'
import { addTask, tasksFolder } from '../tasks/tasks.ts'
import { contribution, logInFirst, post, smallRun, startOn, Tab, until } from '../testing.ts'
import { type Evaluator, startEvaluator } from './evaluator.ts'
import { TaskEvaluations } from './taskEvaluations.ts'
import type { TaskJob } from './taskWork.ts'

const CONFIG = { ...PRESETS.nano, vocabSize: 280 }
const ROWS = Array.from({ length: 40 }, (_, i) => ({
  goal: 'egg? '.repeat(1 + (i % 3) ** 2 * 4),
  sol1: i % 3 === 0 ? `Heat ${i}` : `Heat ${i} cups of water.`,
  sol2: 'Cool it down, and wait for the morning.'.slice(0, i % 3 === 0 ? 7 : 10 + i),
  label: i % 2,
}))
const EXAMPLES = ROWS.map(({ goal, sol1, sol2, label }) =>
  piqaExample({ goal, solutions: [sol1, sol2], label }),
)
const tokenizer = trainTokenizer(['heat a cup of water for the egg and cool it down in the morning'], 280)
const parameters = initialParameters(CONFIG, 'tasks').map((value) => (value === 1 ? 1 : value * 8))
let folder: string
let blobs: BlobStore
let evaluator: Evaluator
let store: MetadataStore
let job: TaskJob

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'potluck-task-work-'))
  blobs = await openFileBlobStore(join(folder, 'blobs'))
  store = await openSqliteStore(join(folder, 'potluck.sqlite'))
  const shard = { hash: await blobs.put(encodeShard(new Uint16Array(65))), sequences: 1 }
  const manifest = await blobs.put(
    manifestToBytes({
      ...{ version: 1, name: 'test', licence: 'none', vocabSize: CONFIG.vocabSize },
      sequenceLength: CONFIG.sequenceLength,
      tokenizer: await blobs.put(tokenizerToBytes(tokenizer)),
      training: [shard],
      validation: [shard],
    }),
  )
  const file = join(folder, 'piqa.jsonl')
  writeFileSync(file, ROWS.map((row) => JSON.stringify(row)).join('\n'))
  const examples = await openFileBlobStore(tasksFolder(folder))
  const { data } = await addTask({ store, examples, now: () => 1 }, 'piqa', [file])
  const weights = [await blobs.put(floatsToBytes(parameters))]
  job = { config: CONFIG, weights, manifest, folder: tasksFolder(folder), data, examples: 1_000, from: 0 }
  evaluator = startEvaluator({ blobs: join(folder, 'blobs') })
}, 60_000)
afterAll(async () => {
  evaluator.close()
  await store.close()
  rmSync(folder, { recursive: true, force: true })
})

async function whole(examples: number): Promise<{ tally: Tally; pieces: number }> {
  let [tally, pieces, done, of] = [NO_TALLY, 0, 0, 1]
  while (done < of) {
    const piece = await evaluator.taskPiece({ ...job, examples, from: done })
    if (piece === null) throw new Error('It was wanted.')
    tally = added(tally, piece.tally)
    ;({ done, of } = piece)
    pieces += 1
  }
  return { tally, pieces }
}

/** At the model's whole window, in f64. */
async function reference(examples: number): Promise<Tally> {
  const engine = {
    config: CONFIG,
    tokenLosses: async (sequences: Uint16Array) =>
      Float32Array.from(referenceLosses(CONFIG, Float64Array.from(parameters), sequences)),
  }
  let tally = NO_TALLY
  for (const example of EXAMPLES.slice(0, examples)) {
    const requests = requestsOf(example).map((one) => encodeRequest(tokenizer, one, CONFIG.sequenceLength))
    tally = added(tally, tallyOf(example, [...(await logLikelihoods(engine, requests))]))
  }
  return tally
}

describe('zero-shot tasks', () => {
  it('P5 are measured in pieces, in windows as short as may be, and come to what the f64 reference does', async () => {
    const { tally, pieces } = await whole(1_000)
    expect(tally).toEqual(await reference(40))
    expect(pieces).toBeGreaterThan(1)
    expect((await whole(7)).tally).toEqual(await reference(7)) // the first seven of the file
  })

  it('P5 let a loss that comes go first', async () => {
    const order: string[] = []
    const note = (name: string) => () => void order.push(name)
    await Promise.all([
      evaluator.taskPiece(job).then(note('first piece')),
      evaluator.taskPiece(job).then(note('second piece')),
      evaluator.heldOut(job.manifest).then(note('other work')), // more urgent, as a loss is
    ])
    expect(order).toEqual(['first piece', 'other work', 'second piece'])
  })

  it('P5 of four rounds wait, the newest first, and are kept with the hashes of weights and examples', async () => {
    const kept: number[] = []
    const tasks = new TaskEvaluations({
      store: { setTask: async (_run, round) => void kept.push(round) },
      ...{ evaluator, folder: tasksFolder(folder), now: () => 5, changed: () => undefined },
    })
    const records = await store.tasks()
    const record = { id: 'run-1', config: smallRun, manifest: job.manifest }
    const order = (round: number, wanted = true) =>
      tasks.measure({
        ...{ record, model: CONFIG, round, weights: job.weights, tasks: records, examples: 1 },
        isCurrent: () => wanted,
      })
    const ends = [order(1), order(2), order(3), order(4, false), order(5), order(6)]
    expect(await Promise.all(ends)).toEqual([true, false, true, false, true, true])
    expect(kept).toEqual([1, 6, 5, 3])
    expect(tasks.progress).toBeNull()
  })
})

describe('a run', () => {
  let data: string
  let coordinator: Coordinator
  let operator: Record<string, string>
  let beside: MetadataStore
  const view = () => coordinator.runs.view()
  const id = () => view()?.id ?? ''
  const ask = (body: unknown, run = id(), headers = operator) =>
    post(coordinator.url + ROUTES.adminRunTasks(run), body, headers)

  beforeAll(async () => {
    data = mkdtempSync(join(tmpdir(), 'potluck-task-run-'))
    coordinator = await startOn(data)
    operator = await logInFirst(coordinator)
    const every = { every: 1, examples: 3, names: ['hellaswag' as const, 'piqa' as const] }
    await post(
      coordinator.url + ROUTES.adminRuns,
      { ...smallRun, replicas: 1, quorum: 1, tasks: every },
      operator,
    )
    await until(() => view()?.weights != null, 'the weights')
    beside = await openSqliteStore(join(data, 'potluck.sqlite'))
  }, 60_000)
  afterAll(async () => {
    await beside?.close()
    await coordinator?.stop()
    rmSync(data, { recursive: true, force: true })
  })

  it('refuses to be measured by strangers, on nothing, and on what it does not know', async () => {
    expect(await ask({}, id(), {})).toMatchObject({ status: 401 })
    expect(await ask({})).toMatchObject({ status: 409, body: { error: { code: 'bad-task' } } })
    expect(await ask({}, 'another-run-1')).toMatchObject({ status: 409, body: { error: { code: 'no-run' } } })
    for (const body of [{ names: ['mmlu'] }, { names: [] }, { examples: 0 }, { more: 1 }])
      expect(await ask(body)).toMatchObject({ status: 400, body: { error: { code: 'bad-request' } } })
  })

  it('is measured when the operator asks, on what a command imports beside it, and everybody sees the result', async () => {
    const examples = await openFileBlobStore(tasksFolder(data))
    await addTask({ store: beside, examples, now: () => 1 }, 'piqa', [join(folder, 'piqa.jsonl')])
    expect(await ask({ examples: 10 })).toMatchObject({ status: 200, body: { round: 0, tasks: ['piqa'] } })
    await until(() => view()?.tasks.length === 1, 'the result')
    expect(view()?.tasks[0]).toMatchObject({ task: 'piqa', round: 0, examples: 10, chance: 0.5 })
    const { tasks, measuring } = await coordinator.runs.adminView()
    expect(tasks).toMatchObject([{ name: 'piqa', examples: 40 }])
    expect(measuring).toBeNull()
  }, 60_000)

  it('is measured every so many rounds, on those of its tasks that are imported', async () => {
    await post(coordinator.url + ROUTES.adminRunAction('start'), {}, operator)
    const tab = await Tab.joined(coordinator.url)
    const lease = await tab.lease()
    const nothing = contribution(view()?.parameters ?? 0, 0)
    expect((await tab.send(lease, nothing, { steps: lease.steps })).status).toBe(200)
    tab.close()
    await until(() => view()?.tasks.length === 2, 'the result of round 1')
    expect(await beside.taskResults(id())).toMatchObject([
      { task: 'piqa', round: 0, examples: 10 },
      { task: 'piqa', round: 1, examples: 3 },
    ])
    expect(coordinator.runs.problems.list()).toEqual([])
  }, 60_000)
})
