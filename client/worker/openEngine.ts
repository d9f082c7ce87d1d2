/**
 * The engine of a backend: on WebGPU the compiled step, and TensorFlow.js where that refuses the device or there is another
 * backend. Each is downloaded when it is wanted, so a tab that trains on one does not wait for the other.
 */
import type { CompileProgress } from '../../shared/engine/compiled/executor.ts'
import type { Memento } from '../../shared/engine/compiled/tune.ts'
import { type Backend, type Engine, EngineError } from '../../shared/engine/engine.ts'
import { browserWasmPaths } from '../../shared/engine/tfjs/browserWasmPaths.ts'
import type { ModelConfig } from '../../shared/model/config.ts'

/** What a page may want to tell of an engine's beginning. */
export interface EngineNews {
  /** Shaders compiled, of those that the next piece of work needs. */
  compiling?(progress: CompileProgress): void
  /** Why the compiled step is not used, though the backend is WebGPU. */
  refused?(why: string): void
}

export async function openEngine(
  backend: Backend,
  config: ModelConfig,
  memento: Memento = {},
  news: EngineNews = {},
): Promise<Engine> {
  if (backend === 'webgpu') {
    const { createCompiledEngine } = await import('../../shared/engine/compiled/createCompiledEngine.ts')
    try {
      const progress = (p: CompileProgress) => news.compiling?.(p)
      return await createCompiledEngine({ config, progress, ...memento })
    } catch (error) {
      if (!isRefusal(error)) throw error
      news.refused?.(error.message)
    }
  }
  const { createTfjsEngine } = await import('../../shared/engine/tfjs/createTfjsEngine.ts')
  return createTfjsEngine({ backend, config, wasmPaths: browserWasmPaths })
}

/** No device, or one that does not pass the self-test; a device that dies meanwhile is another matter. */
function isRefusal(error: unknown): error is EngineError {
  return error instanceof EngineError && error.code === 'engine/backend-missing'
}
