import { engineContract } from '../contract.ts'
import { createTfjsEngine } from './createTfjsEngine.ts'
import { nodeWasmPaths } from './nodeWasmPaths.ts'

engineContract('the TensorFlow.js engine on wasm in Node', (config) =>
  createTfjsEngine({ backend: 'wasm', config, wasmPaths: nodeWasmPaths() }),
)
