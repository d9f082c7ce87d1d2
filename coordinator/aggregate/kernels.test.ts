import { expect, it } from 'vitest'
import { fromHalfBits } from '../../shared/codec/half.ts'
import { KERNELS, scaleTable } from './accumulateKernel.ts'
import { loadKernels } from './kernels.ts'

it.each([
  ['int8', 127],
  ['int4', 7],
] as const)('[A2] %s: high and low give every value of every scale its right bits', (codec, most) => {
  const table = scaleTable(codec)
  const { divisor, unit } = KERNELS[codec]
  let wrong = 0
  for (let half = 0; half < 0x7c00; half++) {
    const largest = fromHalfBits(half)
    const [high, low] = table.subarray(2 * half, 2 * half + 2) as unknown as [number, number]
    for (let q = -most; q <= most; q++) {
      const x = unit * q
      const sum = Math.fround(Math.fround(x * high) + Math.fround(x * low))
      if (sum !== Math.fround(q * (largest / divisor))) wrong++
    }
  }
  expect(wrong).toBe(0)
})

it('the kernels can be assembled here', async () => {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true })
  const kernels = await loadKernels(memory)
  expect(Object.keys(kernels ?? {}).sort()).toEqual(['apply', 'int4', 'int8', 'seal', 'step'])
})
