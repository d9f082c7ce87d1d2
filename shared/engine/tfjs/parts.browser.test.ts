import { BACKENDS } from '../engine.ts'
import { browserWasmPaths } from './browserWasmPaths.ts'
import { tfjsContract } from './tfjsContract.ts'

for (const backend of BACKENDS) tfjsContract(backend, browserWasmPaths)
