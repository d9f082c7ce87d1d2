/** The evaluator with its real process and the real engine; deaths are real signals. */
import { mkdtempSync, rmSync } from 'node:fs'
import { getPriority, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest'
import { floatsToBytes } from '../../shared/codec/floats.ts'
import { manifestToBytes } from '../../shared/corpus/manifest.ts'
import { decodeShard, encodeShard } from '../../shared/corpus/shard.ts'
import { referenceLosses } from '../../shared/engine/reference.ts'
import { PRESETS } from '../../shared/model/config.ts'
import { initialParameters } from '../../shared/model/initial.ts'
import { fragments, gathered } from '../../shared/model/layout.ts'
import { LIMITS } from '../../shared/protocol/limits.ts'
import { tokenizerToBytes } from '../../shared/tokenizer/json.ts'
import { trainTokenizer } from '../../shared/tokenizer/train.ts'
import { systemClock } from '../clock.ts'
import type { BlobStore } from '../store/blobs.ts'
import { openFileBlobStore } from '../store/fileBlobs.ts'
import { smallRun, until } from '../testing.ts'
import { Evaluations } from './evaluations.ts'
import { type Evaluator, SILENCE_MS, startEvaluator } from './evaluator.ts'
import type { HeldOutSet } from './heldOut.ts'
import { VolunteerEvaluator } from './volunteers.ts'
import type { LossJob } from './work.ts'

const CONFIG = { ...PRESETS.nano, vocabSize: 280 }
const SEQUENCES = 24
const parameters = initialParameters(CONFIG, 'test')
let folder: string
let store: BlobStore
let manifest: string
let set: HeldOutSet
let evaluator: Evaluator
const opened: Evaluator[] = []

function open(options: { memoryBytes?: number } = {}): Evaluator {
  const one = startEvaluator({ blobs: folder, ...options })
  opened.push(one)
  return one
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'potluck-evaluator-'))
  store = await openFileBlobStore(folder)
  const length = SEQUENCES * (CONFIG.sequenceLength + 1)
  const tokens = Uint16Array.from({ length }, (_, i) => (i * i + 7 * i) % 256)
  const shard = { hash: await store.put(encodeShard(tokens)), sequences: SEQUENCES }
  const tokenizer = tokenizerToBytes(trainTokenizer(['one two three four five six seven eight'], 280))
  manifest = await store.put(
    manifestToBytes({
      version: 1,
      name: 'test',
      licence: 'none',
      vocabSize: CONFIG.vocabSize,
      sequenceLength: CONFIG.sequenceLength,
      tokenizer: await store.put(tokenizer),
      training: [shard],
      validation: [shard],
    }),
  )
  evaluator = open()
  set = await evaluator.heldOut(manifest)
}, 60_000)
afterEach(() => {
  for (const one of opened.splice(0)) if (one !== evaluator) one.close()
})
afterAll(() => {
  evaluator.close()
  rmSync(folder, { recursive: true, force: true })
})

async function job(change: Partial<LossJob> = {}): Promise<LossJob> {
  const parts = fragments(CONFIG, 2).map((ranges) => floatsToBytes(gathered(parameters, ranges)))
  const weights = await Promise.all(parts.map((part) => store.put(part)))
  return { config: CONFIG, weights, set: set.hash, manifest, seed: 'test', ...change }
}

it('measures the loss of a model in fragments as the f64 reference does, and writes a sample', async () => {
  const measured = await evaluator.loss(await job())
  const sequences = decodeShard(await store.get(set.hash), CONFIG)
  const losses = referenceLosses(CONFIG, Float64Array.from(parameters), sequences)
  const expected = losses.reduce((sum, loss) => sum + loss, 0)
  expect(measured?.tokens).toBe(SEQUENCES * CONFIG.sequenceLength)
  expect(Math.abs((measured?.nats ?? 0) / expected - 1)).toBeLessThan(2e-5)
  expect(measured?.sample).toMatch(/\S/)
  expect(await evaluator.loss(await job())).toEqual(measured) // the same again, sample too
})

it('P1 runs at lower priority in a process of its own', () => {
  expect(evaluator.pid).not.toBe(process.pid)
  expect(getPriority(evaluator.pid ?? 0)).toBeGreaterThan(getPriority(process.pid))
})

it('P2 lets sixteen wait, the newest first, and gives up the oldest', async () => {
  const same = await job()
  const order: number[] = []
  // Those that wait have weights that are gone, so that each is over at once.
  const gone = '0'.repeat(64)
  const waits = await job({ weights: [gone, gone] })
  const first = evaluator.loss(same)
  const others = Array.from({ length: LIMITS.evaluation.waiting + 1 }, (_, i) =>
    evaluator.loss(waits).catch((error: unknown) => {
      order.push(i)
      return error
    }),
  )
  expect(await others[0]).toBeNull()
  expect(order).toEqual([])
  expect(await first).not.toBeNull()
  await Promise.all(others)
  expect(order).toEqual(Array.from({ length: 16 }, (_, i) => 16 - i))
})

it('E1 makes the set once for all that wait for it, and measures the first of them first', async () => {
  const one = open()
  const made = vi.spyOn(one, 'heldOut')
  const kept: number[] = []
  const volunteers = new VolunteerEvaluator({
    ...{ clock: systemClock, changed: () => undefined, answered: () => undefined, problem: () => undefined },
  })
  const evaluations = new Evaluations({
    store: { setHeldOut: async (_run, round) => void kept.push(round), setTask: async () => undefined },
    ...{ evaluator: one, volunteers, now: () => 5 },
  })
  const { weights } = await job()
  const record = { id: 'run-1', config: { ...smallRun, evaluation: 'coordinator' as const }, manifest }
  const isCurrent = () => true
  const rounds = [0, 1, 2].map((round) =>
    evaluations.heldOut({ record, model: CONFIG, round, weights, isCurrent }),
  )
  await Promise.all(rounds)
  expect(made).toHaveBeenCalledTimes(1)
  expect(kept).toEqual([0, 2, 1])
})

it('P2 does not begin what is wanted no more', async () => {
  const first = evaluator.loss(await job())
  const second = evaluator.loss(await job(), () => false)
  expect(await second).toBeNull()
  expect(await first).not.toBeNull()
})

it('P3 begins a job again when its process is killed', async () => {
  const one = open()
  const measured = one.loss(await job())
  process.kill(one.pid ?? 0, 'SIGKILL')
  expect((await measured)?.tokens).toBe(SEQUENCES * CONFIG.sequenceLength)
  expect(one.deaths).toBe(1)
})

it('P3 replaces a process that hangs', async () => {
  const one = open()
  await one.heldOut(manifest)
  const hangs = one.pid ?? 0
  process.kill(hangs, 'SIGSTOP')
  const same = await job()
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }) // the processes go on in real time
  const measuring = one.loss(same)
  vi.advanceTimersByTime(SILENCE_MS - 1)
  expect(one.pid).toBe(hangs)
  vi.advanceTimersByTime(1)
  vi.useRealTimers()
  const measured = await measuring
  expect(measured?.tokens).toBe(SEQUENCES * CONFIG.sequenceLength)
  expect(one.pid).not.toBe(hangs)
  expect(() => process.kill(hangs, 0)).toThrow('ESRCH') // stopped or not, it is gone
})

it('P3 gives up after three, and works again for the next job', async () => {
  const one = open()
  const measured = one.loss(await job())
  const killed: (number | null)[] = []
  const killing = until(() => {
    const { pid } = one
    if (pid !== null && !killed.includes(pid)) {
      killed.push(pid)
      process.kill(pid, 'SIGKILL')
    }
    return killed.length === 3
  }, 'three processes')
  await expect(measured).rejects.toMatchObject({ code: 'evaluation-failed' })
  await killing
  expect((await one.loss(await job()))?.nats).toBeGreaterThan(0)
})

it('P4 ends a process that holds more than it may, at its first attempt', async () => {
  const one = open({ memoryBytes: 64 * 2 ** 20 })
  await expect(one.loss(await job())).rejects.toMatchObject({ code: 'too-large' })
  expect(one.deaths).toBe(0)
  expect(one.pid).toBeNull()
})

it('refuses weights that are damaged or gone, and goes on', async () => {
  const gone = '0'.repeat(64)
  await expect(evaluator.loss(await job({ weights: [gone, gone] }))).rejects.toMatchObject({
    code: 'not-found',
  })
  expect(await evaluator.loss(await job())).not.toBeNull()
})

it('P1 ends at once when closed, whatever is under way', async () => {
  const one = open()
  const same = await job()
  const asked = [one.loss(same), one.heldOut(manifest)]
  const pid = one.pid ?? 0
  one.close()
  const ends = await Promise.allSettled([...asked, one.loss(same)])
  const stopping = { status: 'rejected', reason: { code: 'internal' } }
  expect(ends).toMatchObject([stopping, stopping, stopping])
  await until(() => isGone(pid), 'its end')
  expect(one.pid).toBeNull()
})

function isGone(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return false
  } catch {
    return true
  }
}
