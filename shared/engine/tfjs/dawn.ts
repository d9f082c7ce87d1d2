/**
 * WebGPU under Node, for tests: Dawn (npm `webgpu`) behind `navigator.gpu`, as in a browser. Its driver is
 * SwiftShader, Chromium's Vulkan on the CPU, so that numbers and times do not hang on the machine's GPU;
 * VK_ICD_FILENAMES names another. Browsers need none of this.
 */

/** Where Debian's chromium package puts it; other systems name theirs in VK_ICD_FILENAMES. */
const SWIFTSHADER = '/usr/lib/chromium/vk_swiftshader_icd.json'

export const NO_DAWN =
  'WebGPU in Node needs a Vulkan driver. On Debian: apt-get install libvulkan1 chromium (its SwiftShader is found by itself). Elsewhere: VK_ICD_FILENAMES=/path/to/driver_icd.json'

export interface Dawn {
  /** Takes `navigator.gpu` away; what holds a device must have destroyed it, or the process stays alive. */
  close(): void
}

/**
 * Call it before the webgpu backend is imported, which looks for `navigator.gpu` once. Null when there is no
 * adapter; NO_DAWN says what to do then. `options` are Dawn's: `backend=null` compiles shaders and computes nothing.
 */
export async function installDawn(options: readonly string[] = []): Promise<Dawn | null> {
  const { create, globals } = await import('webgpu')
  process.env.XDG_RUNTIME_DIR ??= '/tmp' // without it Dawn complains on stderr; nothing is written there
  process.env.VK_ICD_FILENAMES ??= SWIFTSHADER
  const gpu = create([...options])
  if ((await gpu.requestAdapter()) === null) return null
  Object.assign(globalThis, globals)
  const host = globalThis as { navigator?: object } // Node has one from 21 on
  host.navigator ??= {}
  Object.defineProperty(host.navigator, 'gpu', { value: gpu, configurable: true })
  return { close: () => void Reflect.deleteProperty(host.navigator ?? {}, 'gpu') }
}
