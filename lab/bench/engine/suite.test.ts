import { expect, test } from 'vitest'
import { PRESETS } from '../../../shared/model/config.ts'
import { flopsPerToken } from '../../../shared/model/flops.ts'
import { measureEngines, readFlags } from './suite.ts'

test('flags have defaults, and lists are split', () => {
  expect(readFlags([])).toEqual({
    presets: ['nano', 'micro'],
    backends: ['wasm'],
    hosts: ['chromium', 'node'],
    peers: false,
    engines: ['tfjs', 'compiled', 'stock-tfjs', 'jax-js'],
    steps: 5,
    precision: 'f32',
  })
  expect(
    readFlags(['--presets', '35m', '--backends', 'wasm,webgpu', '--hosts', 'node', '--peers']),
  ).toMatchObject({
    presets: ['35m'],
    backends: ['wasm', 'webgpu'],
    hosts: ['node'],
    peers: true,
  })
})

test.each([
  ['--presets', 'giant'],
  ['--backends', 'abacus'],
  ['--steps', '4'],
  ['--precision', 'f8'],
  ['--unknown'],
])('refuses %s %s', (...flags) => {
  expect(() => readFlags(flags.filter((flag) => flag !== undefined))).toThrow()
})

test('a token of nano is 6·172,480 operations and 12·2·64·64 of attention', () => {
  expect(flopsPerToken(PRESETS.nano)).toBe(1_034_880 + 98_304)
})

test('a row has these fields and no others, in this order', async () => {
  const flags = ['--presets', 'nano', '--backends', 'wasm', '--hosts', 'node']
  const { rows, ratios, ...rest } = await measureEngines(flags)
  expect(rest).toEqual({})
  expect(ratios).toEqual([])
  expect(rows).toHaveLength(1)
  expect(Object.keys(rows[0] ?? {}).join(' ')).toBe(
    'engine backend host preset batch sequence msPerStep tokensPerSecond gflops dispatches peakBytes ' +
      'firstStepSeconds finalLoss',
  )
  const shape = { engine: 'tfjs', backend: 'wasm', host: 'node', preset: 'nano', batch: 8, sequence: 64 }
  expect(rows[0]).toMatchObject({ ...shape, dispatches: null })
})
