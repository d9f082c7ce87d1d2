/** For tests: a device whose driver compiles something else than it was given. */
import type { OpenDevice } from '../gpuDevice.ts'

/** `by`: each text in every shader → what stands there instead. Nothing is known of it as of a new device. */
export function changing(open: OpenDevice, by: Readonly<Record<string, string>>): OpenDevice {
  const changed = (code: string) =>
    Object.entries(by).reduce((text, [from, to]) => text.replaceAll(from, to), code)
  const device = new Proxy(open.device, {
    get(target, name) {
      if (name === 'createShaderModule') {
        return (descriptor: GPUShaderModuleDescriptor) =>
          target.createShaderModule({ ...descriptor, code: changed(descriptor.code) })
      }
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  return { ...open, device, pipelines: new Map() }
}
