/** The engine of the evaluation process, on wasm, with the weights that are wanted. One lives at a time. */
import { bytesToFloats } from '../../shared/codec/floats.ts'
import type { Engine } from '../../shared/engine/engine.ts'
import { createTfjsEngine } from '../../shared/engine/tfjs/createTfjsEngine.ts'
import { nodeWasmPaths } from '../../shared/engine/tfjs/nodeWasmPaths.ts'
import type { ModelConfig } from '../../shared/model/config.ts'
import { fragments } from '../../shared/model/layout.ts'
import { openFileBlobStore } from '../store/fileBlobs.ts'

/** A model as the blob store has it. */
export interface Model {
  readonly config: ModelConfig
  /** Hashes of the fragments. */
  readonly weights: readonly string[]
}

interface Ready {
  readonly key: string
  readonly engine: Engine
  /** What it was given last; null while that is under way. */
  weights: string | null
}

let ready: Ready | null = null

/** The engine of the last model again when it is of this shape, because rounds come one after another. */
export async function engineWith({ config, weights }: Model, blobs: string): Promise<Engine> {
  const key = JSON.stringify(config)
  if (ready?.key !== key) {
    ready?.engine.dispose()
    ready = null
    const engine = await createTfjsEngine({ backend: 'wasm', config, wasmPaths: nodeWasmPaths() })
    ready = { key, engine, weights: null }
  }
  const wanted = weights.join(' ')
  if (ready.weights === wanted) return ready.engine
  ready.weights = null
  const store = await openFileBlobStore(blobs)
  for (const [i, ranges] of fragments(config, weights.length).entries()) {
    ready.engine.setParameters(bytesToFloats(await store.get(weights[i] as string)), ranges) // one hash a fragment
  }
  ready.weights = wanted
  return ready.engine
}
