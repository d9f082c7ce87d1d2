import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { keyOf, openCache } from './cache.ts'
import { grid, QUICK } from './settings.ts'

const RESULT = { valLoss: 3.5, startLoss: 4, bytesUp: 10, bytesDown: 20, seconds: 1.25 }

describe('the cache of runs', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'potluck-cache-test-'))
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  it('[S9] remembers runs by settings, cell and seed', async () => {
    const path = join(folder, 'runs.jsonl')
    const [one, other] = grid()
    if (one === undefined || other === undefined) throw new Error('the grid has cells')
    await (await openCache(path)).put(keyOf(QUICK, one, '1'), RESULT)
    const cache = await openCache(path)
    expect(cache.get(keyOf(QUICK, one, '1'))).toEqual(RESULT)
    expect(cache.get(keyOf(QUICK, other, '1'))).toBeUndefined()
    expect(cache.get(keyOf(QUICK, one, '2'))).toBeUndefined()
    expect(cache.get(keyOf({ ...QUICK, batchSize: 5 }, one, '1'))).toBeUndefined()
  })

  it('[S9] passes over a line cut short, and the next one stands', async () => {
    const path = join(folder, 'torn.jsonl')
    await (await openCache(path)).put('a', RESULT)
    await appendFile(path, '{"key":"b","result":{"valL')
    const torn = await openCache(path)
    expect(torn.get('b')).toBeUndefined()
    await torn.put('c', RESULT)
    const cache = await openCache(path)
    expect([cache.get('a'), cache.get('b'), cache.get('c')]).toEqual([RESULT, undefined, RESULT])
    expect((await readFile(path, 'utf8')).split('\n')).toHaveLength(4)
  })

  it('without a file forgets everything', async () => {
    await (await openCache(null)).put('a', RESULT)
    expect((await openCache(null)).get('a')).toBeUndefined()
  })
})
