import { afterEach, beforeEach, expect, test } from 'vitest'
import { PRESETS } from '../../shared/model/config.ts'
import { startEngine } from './engineClient.ts'
import { keepTuning, recallTuning } from './tuning.ts'

beforeEach(() => localStorage.clear())
afterEach(() => localStorage.clear())

/** Large enough to have products whose tile is measured, and as quick to compile as such a model can be. */
const SMALL = { ...PRESETS.nano, layers: 1 }

async function visit(): Promise<string | null> {
  const engine = await startEngine('webgpu', SMALL)
  engine.terminate()
  return recallTuning()
}

// Its speed is of one measurement: a second one would not come to the same digits.
test('what an engine measures is kept on the page and given to the next one; damaged, it is measured again', async () => {
  const first = await visit()
  expect(JSON.parse(first ?? '')).toMatchObject({ tile: { way: 'direct' } })
  expect(await visit()).toBe(first)
  keepTuning('damaged')
  expect(JSON.parse((await visit()) ?? '')).toMatchObject({ tile: { way: 'direct' } })
})

test('a page without storage measures each time, and trains', () => {
  const closed = {
    getItem: () => {
      throw new Error('The operation is insecure.')
    },
    setItem: () => {
      throw new Error('The operation is insecure.')
    },
  }
  keepTuning('text', closed)
  expect(recallTuning(closed)).toBeNull()
  expect(recallTuning(null)).toBeNull()
})
