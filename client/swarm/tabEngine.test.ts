import { expect, it } from 'vitest'
import { candidatesOf } from './tabEngine.ts'

const measured = (webgpu: number | null, wasm: number | null, webgl: number | null) => [
  { backend: 'webgpu' as const, tokensPerSecond: webgpu, microBatch: 8, peakBytes: 1, note: '' },
  { backend: 'wasm' as const, tokensPerSecond: wasm, microBatch: 2, peakBytes: 1, note: '' },
  { backend: 'webgl' as const, tokensPerSecond: webgl, microBatch: 4, peakBytes: 1, note: '' },
]

it.each([
  ['the others follow by speed', 900, 30, 200, ['webgpu', 'webgl', 'wasm']],
  ['what showed no speed is no candidate', 900, 30, null, ['webgpu', 'wasm']],
  ['wasm is one even unmeasured', 900, null, 200, ['webgpu', 'webgl', 'wasm']],
] as const)('%s', (_, webgpu, wasm, webgl, candidates) => {
  const chosen = { backend: 'webgpu' as const, tokensPerSecond: 900, microBatch: 8, peakBytes: 1 }
  const found = candidatesOf({ ...chosen, measurements: measured(webgpu, wasm, webgl) })
  expect(found.map(({ backend }) => backend)).toEqual(candidates)
  const sizes = { webgpu: 8, wasm: 2, webgl: 4 }
  expect(found.map(({ microBatch }) => microBatch)).toEqual(candidates.map((backend) => sizes[backend]))
})

it('a chosen wasm comes first', () => {
  const chosen = { backend: 'wasm' as const, tokensPerSecond: 30, microBatch: 2, peakBytes: 1 }
  expect(candidatesOf({ ...chosen, measurements: measured(10, 30, null) })).toEqual([
    { backend: 'wasm', microBatch: 2 },
    { backend: 'webgpu', microBatch: 8 },
  ])
})
