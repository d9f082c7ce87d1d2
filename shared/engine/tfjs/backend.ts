/**
 * Opens one TensorFlow.js backend: loads its code and starts it, WebGPU on our own device. The
 * only file that names the backend packages; each is imported when it is asked for, so a tab that trains on
 * WebGPU downloads no WebAssembly.
 */
import * as tf from '@tensorflow/tfjs-core'
import { type Backend, EngineError } from '../engine.ts'
import { type OpenDevice, openDevice } from '../gpuDevice.ts'

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
  const device = await loaders[backend](wasmPaths)
  const started = await tf.setBackend(backend).catch(() => false)
  if (!started) throw missing(backend, 'it did not start')
  const use = () => makeCurrent(backend)
  return {
    use,
    lost: device?.lost ?? never,
    guard(work) {
      use()
      return device?.guard(work) ?? work()
    },
  }
}

const never = new Promise<EngineError>(() => {})

/** What they answer is the GPU's device, where there is one. */
const loaders: Record<Backend, (wasmPaths?: WasmPaths) => Promise<OpenDevice | null>> = {
  async wasm(wasmPaths) {
    const { setWasmPaths } = await import('@tensorflow/tfjs-backend-wasm')
    // One thread: the threaded build starts blob Workers, which our Content-Security-Policy forbids, and two
    // threads were slower than one for small models (80 against 60 ms a step at d=64, two cores).
    tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false)
    if (wasmPaths !== undefined && tf.findBackend('wasm') === null) setWasmPaths(wasmPaths)
    return null
  },
  async webgl() {
    await import('@tensorflow/tfjs-backend-webgl')
    // Some phones render to 16-bit floats only, in which AdamW's ε is zero.
    if (!tf.env().getBool('WEBGL_RENDER_FLOAT32_ENABLED'))
      throw missing('webgl', 'it has no 32-bit floats here')
    return null
  },
  webgpu: onOurDevice,
}

let current: OpenDevice | null = null

/**
 * The backend on the one device of gpuDevice.ts, so that its tensors and the compiled engine's buffers are of one kind.
 * Held for good: TensorFlow.js has one backend of a name. TensorFlow.js itself listens to no loss: work on a dead
 * device "succeeds" and every number is stale.
 */
async function onOurDevice(): Promise<OpenDevice> {
  const open = await openDevice()
  if (current?.device === open.device) {
    open.release()
    return current
  }
  const { WebGPUBackend } = await import('@tensorflow/tfjs-backend-webgpu')
  if (tf.findBackendFactory('webgpu') !== null) tf.removeBackend('webgpu')
  tf.registerBackend('webgpu', () => new WebGPUBackend(open.device, open.info))
  current = open
  return open
}

const missing = (backend: Backend, why: string) =>
  new EngineError('engine/backend-missing', `The ${backend} backend is not available: ${why}.`)

function makeCurrent(backend: Backend): void {
  // For a backend that has started, setBackend does its work before its first await.
  if (tf.getBackend() !== backend) void tf.setBackend(backend)
}
