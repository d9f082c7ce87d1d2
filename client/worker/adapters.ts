/** What the browser would run each backend on, in words, and whether that is worth measuring. */
import type { Backend } from '../../shared/engine/engine.ts'

export interface Adapter {
  readonly usable: boolean
  /** The hardware's name, or why the backend is out. */
  readonly text: string
}

export type Adapters = Readonly<Record<Backend, Adapter>>

/** Names that renderers on the CPU give themselves. */
const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i

export function isSoftware(text: string): boolean {
  return SOFTWARE.test(text)
}

export async function findAdapters(): Promise<Adapters> {
  return { webgpu: await webgpuAdapter(), wasm: { usable: true, text: 'the CPU' }, webgl: webglAdapter() }
}

const absent = (text: string): Adapter => ({ usable: false, text })
const judged = (text: string, software: boolean): Adapter =>
  software ? absent('software adapter, runs on the CPU') : { usable: true, text }

async function webgpuAdapter(): Promise<Adapter> {
  if (!navigator.gpu) return absent('not in this browser')
  const adapter = await navigator.gpu.requestAdapter().catch(() => null)
  if (!adapter) return absent('no adapter')
  const { vendor, architecture, device, description, isFallbackAdapter } = adapter.info
  const text = [vendor, architecture, device, description].filter(Boolean).join(' ') || 'a GPU'
  return judged(text, isFallbackAdapter || isSoftware(text))
}

function webglAdapter(): Adapter {
  // In the Worker TensorFlow.js can only draw on this kind of canvas.
  if (typeof OffscreenCanvas === 'undefined') return absent('no canvas outside the page')
  const gl = new OffscreenCanvas(1, 1).getContext('webgl2')
  if (!gl) return absent('not in this browser')
  const info = gl.getExtension('WEBGL_debug_renderer_info')
  const renderer = String(gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER))
  gl.getExtension('WEBGL_lose_context')?.loseContext()
  return judged(renderer, isSoftware(renderer))
}
