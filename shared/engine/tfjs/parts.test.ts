import { nodeWasmPaths } from './nodeWasmPaths.ts'
import { tfjsContract } from './tfjsContract.ts'

tfjsContract('wasm', nodeWasmPaths())
