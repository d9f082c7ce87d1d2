import { expect, it } from 'vitest'
import { candidatesOf } from './tabEngine.ts'

const measured = (webgpu: number | null, wasm: number | null, webgl: number | null) => [
  { backend: 'webgpu' as const, tokensPerSecond: webgpu, note: '' },
  { backend: 'wasm' as const, tokensPerSecond: wasm, note: '' },
  { backend: 'webgl' as const, tokensPerSecond: webgl, note: '' },
]

it.each([
  ['the others follow by speed', 900, 30, 200, ['webgpu', 'webgl', 'wasm']],
  ['what showed no speed is no candidate', 900, 30, null, ['webgpu', 'wasm']],
  ['wasm is one even unmeasured', 900, null, 200, ['webgpu', 'webgl', 'wasm']],
] as const)('%s', (_, webgpu, wasm, webgl, candidates) => {
  expect(
    candidatesOf({
      backend: 'webgpu',
      tokensPerSecond: 900,
      measurements: measured(webgpu, wasm, webgl),
    }),
  ).toEqual(candidates)
})

it('a chosen wasm comes first', () => {
  const choice = { backend: 'wasm' as const, tokensPerSecond: 30, measurements: measured(10, 30, null) }
  expect(candidatesOf(choice)).toEqual(['wasm', 'webgpu'])
})
