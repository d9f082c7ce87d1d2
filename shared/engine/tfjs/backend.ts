/**
 * Opens one TensorFlow.js backend: loads its code, starts it, and watches a WebGPU device for its death. The
 * only file that names the backend packages; each is imported when it is asked for, so a tab that trains on
 * WebGPU downloads no WebAssembly.
 */
import * as tf from '@tensorflow/tfjs-core'
import { type Backend, EngineError } from '../engine.ts'

/** Where the three .wasm files lie: a folder with a slash at its end, or a URL for each file name. */
export type WasmPaths = string | Record<string, string>

export interface OpenBackend {
  /** Makes this backend the current one; cheap when it already is. */
  use(): void
  /** Resolves with the reason when the device has died; never on wasm and webgl. */
  readonly lost: Promise<EngineError>
  /** Calls `work` with this backend current, and rejects at once with `engine/device-lost` when the device dies. */
  guard<T>(work: () => Promise<T>): Promise<T>
}

/** @throws EngineError `engine/backend-missing` when this machine cannot run the backend. */
export async function openBackend(backend: Backend, wasmPaths?: WasmPaths): Promise<OpenBackend> {
  tf.enableProdMode()
  await loaders[backend](wasmPaths)
  const started = await tf.setBackend(backend).catch(() => false)
  if (!started) throw missing(backend, 'it did not start')
  const lost = watchDevice(backend)
  const rejection = lost.then((reason) => Promise.reject(reason))
  rejection.catch(() => {}) // nobody may be waiting when it happens; whoever asks later still gets the reason
  const use = () => makeCurrent(backend)
  return {
    use,
    lost,
    guard(work) {
      use()
      return Promise.race([rejection, work()]).catch((error: unknown) => {
        throw backend === 'webgpu' && error instanceof DOMException ? unreadable(error) : error
      })
    },
  }
}

const loaders: Record<Backend, (wasmPaths?: WasmPaths) => Promise<void>> = {
  async wasm(wasmPaths) {
    const { setWasmPaths } = await import('@tensorflow/tfjs-backend-wasm')
    // One thread: the threaded build starts blob Workers, which our Content-Security-Policy forbids, and two
    // threads were slower than one for small models (80 against 60 ms a step at d=64, two cores).
    tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false)
    if (wasmPaths !== undefined && tf.findBackend('wasm') === null) setWasmPaths(wasmPaths)
  },
  async webgl() {
    await import('@tensorflow/tfjs-backend-webgl')
    // Some phones render to 16-bit floats only, in which AdamW's ε is zero.
    if (!tf.env().getBool('WEBGL_RENDER_FLOAT32_ENABLED'))
      throw missing('webgl', 'it has no 32-bit floats here')
  },
  async webgpu() {
    if (!globalThis.navigator?.gpu) throw missing('webgpu', 'this browser has no WebGPU')
    await import('@tensorflow/tfjs-backend-webgpu')
  },
}

const missing = (backend: Backend, why: string) =>
  new EngineError('engine/backend-missing', `The ${backend} backend is not available: ${why}.`)

function makeCurrent(backend: Backend): void {
  // For a backend that has started, setBackend does its work before its first await.
  if (tf.getBackend() !== backend) void tf.setBackend(backend)
}

/** A read that the GPU API itself breaks off; on a dying device this can arrive before the news of its death. */
const unreadable = ({ message }: DOMException) =>
  new EngineError('engine/device-lost', `The GPU device did not hand over its results: ${message}`)

/** TensorFlow.js listens to neither event: work on a dead device "succeeds" and every number is stale. */
function watchDevice(backend: Backend): Promise<EngineError> {
  return new Promise((resolve) => {
    if (backend !== 'webgpu') return
    // The webgpu backend's public field; typed here so that its package stays a lazy import.
    const { device } = tf.backend() as unknown as { device: GPUDevice }
    const end = (what: string) => resolve(new EngineError('engine/device-lost', what))
    void device.lost.then(({ reason, message }) => end(`The GPU device was lost (${reason}): ${message}`))
    device.addEventListener('uncapturederror', (event) => end(`The GPU refused work: ${event.error.message}`))
  })
}
