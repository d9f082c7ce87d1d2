import { nodeWasmPaths } from './nodeWasmPaths.ts'
import { numerics } from './numerics.ts'

numerics('wasm in Node', { backend: 'wasm', wasmPaths: nodeWasmPaths() })
