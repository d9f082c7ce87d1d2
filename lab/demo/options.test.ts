import { describe, expect, it } from 'vitest'
import { readOptions } from './options.ts'

describe('the demo’s options', () => {
  it('are three tabs, five rounds of nano on a free port by default', () => {
    const defaults = { tabs: 3, rounds: 5, preset: 'nano', port: 0, keep: false, json: false }
    expect(readOptions([])).toEqual(defaults)
    expect(readOptions(['--tabs', '2', '--json'])).toEqual({ ...defaults, tabs: 2, json: true })
  })

  it.each([
    ['--tabs', '0'],
    ['--preset', 'giant'],
    ['--rounds', 'many'],
    ['--colour', 'red'],
  ])('refuse %s %s by name', (name, value) => {
    expect(() => readOptions([name, value])).toThrow(
      expect.objectContaining({ code: 'bad-request', message: expect.stringContaining(name) }),
    )
  })
})
