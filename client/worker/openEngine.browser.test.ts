import { afterEach, expect, test, vi } from 'vitest'
import { TINY, tinyParameters } from '../../shared/engine/contract.ts'
import { openEngine } from './openEngine.ts'

afterEach(() => {
  vi.restoreAllMocks()
})

test('a device whose shaders compute something else is left to TensorFlow.js, with a warning', async () => {
  const warn = vi.spyOn(console, 'warn').mockImplementation(() => {})
  const { createShaderModule } = GPUDevice.prototype
  vi.spyOn(GPUDevice.prototype, 'createShaderModule').mockImplementation(function (
    this: GPUDevice,
    descriptor,
  ) {
    const code = descriptor.code.replaceAll('let s = 1.0 / (1.0 + exp(', 'let s = 1.001 / (1.0 + exp(')
    return createShaderModule.call(this, { ...descriptor, code })
  })
  const engine = await openEngine('webgpu', TINY)
  expect(warn).toHaveBeenCalledWith(expect.stringMatching(/self-test.*TensorFlow\.js/))
  expect(engine.backend).toBe('webgpu')
  engine.setParameters(tinyParameters())
  expect(await engine.getParameters()).toEqual(tinyParameters())
  engine.dispose()
})

test('a device that computes rightly is taken without a word', async () => {
  const warn = vi.spyOn(console, 'warn')
  const engine = await openEngine('webgpu', TINY)
  expect(warn).not.toHaveBeenCalled()
  engine.dispose()
})
