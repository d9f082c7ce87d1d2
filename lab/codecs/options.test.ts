import { describe, expect, it } from 'vitest'
import { readOptions } from './options.ts'

describe('the experiment’s options', () => {
  it('are four seeds in one process by default, two when it is quick', () => {
    const defaults = { seeds: 4, jobs: 1, cache: null, out: 'codecs.svg', quick: false }
    expect(readOptions([])).toEqual(defaults)
    expect(readOptions(['--quick'])).toEqual({ ...defaults, seeds: 2, quick: true })
    expect(readOptions(['--quick', '--seeds', '3', '--cache', 'runs.jsonl'])).toMatchObject({
      seeds: 3,
      cache: 'runs.jsonl',
    })
  })

  it.each([
    ['--seeds', '0'],
    ['--jobs', 'many'],
    ['--out', ''],
    ['--colour', 'red'],
  ])('refuse %s %s by name', (name, value) => {
    expect(() => readOptions([name, value])).toThrow(
      expect.objectContaining({ code: 'bad-request', message: expect.stringContaining(name) }),
    )
  })
})
