import { afterEach, expect, test, vi } from 'vitest'
import { TINY, tinyParameters } from '../../shared/engine/contract.ts'
import { openEngine } from './openEngine.ts'

afterEach(() => {
  vi.restoreAllMocks()
})

test('a device whose shaders compute something else is left to TensorFlow.js, which is said', async () => {
  const refused = vi.fn()
  const { createShaderModule } = GPUDevice.prototype
  vi.spyOn(GPUDevice.prototype, 'createShaderModule').mockImplementation(function (
    this: GPUDevice,
    descriptor,
  ) {
    const code = descriptor.code.replaceAll('let s = 1.0 / (1.0 + exp(', 'let s = 1.001 / (1.0 + exp(')
    return createShaderModule.call(this, { ...descriptor, code })
  })
  const engine = await openEngine('webgpu', TINY, {}, { refused })
  expect(refused).toHaveBeenCalledWith(expect.stringMatching(/computes .* wrongly.*self-test/))
  expect(engine.backend).toBe('webgpu')
  engine.setParameters(tinyParameters())
  expect(await engine.getParameters()).toEqual(tinyParameters())
  engine.dispose()
})

test('a device that computes rightly is taken without a word', async () => {
  const [refused, compiling] = [vi.fn(), vi.fn()]
  const engine = await openEngine('webgpu', TINY, {}, { refused, compiling })
  engine.setParameters(tinyParameters())
  await engine.evaluate(new Uint16Array(TINY.sequenceLength + 1))
  expect(refused).not.toHaveBeenCalled()
  const { done, of } = compiling.mock.lastCall?.[0] ?? {}
  expect(done).toBe(of)
  expect(compiling).toHaveBeenCalledWith({ done: 1, of })
  engine.dispose()
})
