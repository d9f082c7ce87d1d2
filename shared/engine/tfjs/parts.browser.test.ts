import { browserWasmPaths } from './browserWasmPaths.ts'
import { tfjsContract } from './tfjsContract.ts'

// Wasm does the same in Node: parts.test.ts.
for (const backend of ['webgpu', 'webgl'] as const) tfjsContract(backend, browserWasmPaths)
