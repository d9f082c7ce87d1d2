import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { readOptions } from './options.ts'

describe('an experiment’s options', () => {
  it('have defaults that hang together', () => {
    expect(readOptions('h', [])).toMatchObject({
      quick: false,
      out: 'lab-out',
      cache: 'lab-out/h.runs.jsonl',
      seeds: null,
    })
    expect(readOptions('h', ['--out', 'x', '--quick'])).toMatchObject({
      quick: true,
      cache: 'x/h.runs.jsonl',
    })
  })

  it('can be added to', () => {
    const extras = { paper: { type: 'boolean', schema: z.boolean().default(false) } } as const
    expect(readOptions('scaling', [], extras).paper).toBe(false)
    expect(readOptions('scaling', ['--paper'], extras).paper).toBe(true)
  })

  it.each([
    ['--seeds', '0'],
    ['--jobs', 'many'],
    ['--out', ''],
    ['--paper', ''],
  ])('refuse %s %s by name', (name, value) => {
    expect(() => readOptions('h', [name, value])).toThrow(
      expect.objectContaining({ code: 'bad-request', message: expect.stringContaining(name) }),
    )
  })
})
