/**
 * The engine of a backend: on WebGPU the compiled step, and TensorFlow.js where that refuses the device or there is another
 * backend. Each is downloaded when it is wanted, so a tab that trains on one does not wait for the other.
 */
import type { Memento } from '../../shared/engine/compiled/tune.ts'
import { type Backend, type Engine, EngineError } from '../../shared/engine/engine.ts'
import { browserWasmPaths } from '../../shared/engine/tfjs/browserWasmPaths.ts'
import type { ModelConfig } from '../../shared/model/config.ts'

export async function openEngine(
  backend: Backend,
  config: ModelConfig,
  memento: Memento = {},
): Promise<Engine> {
  if (backend === 'webgpu') {
    const { createCompiledEngine } = await import('../../shared/engine/compiled/createCompiledEngine.ts')
    try {
      return await createCompiledEngine({ config, ...memento })
    } catch (error) {
      if (!isRefusal(error)) throw error
      console.warn(`${error.message} Training goes on with TensorFlow.js.`)
    }
  }
  const { createTfjsEngine } = await import('../../shared/engine/tfjs/createTfjsEngine.ts')
  return createTfjsEngine({ backend, config, wasmPaths: browserWasmPaths })
}

/** No device, or one that does not pass the self-test; a device that dies meanwhile is another matter. */
function isRefusal(error: unknown): error is EngineError {
  return error instanceof EngineError && error.code === 'engine/backend-missing'
}
