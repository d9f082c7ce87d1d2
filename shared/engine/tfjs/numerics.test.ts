import { numerics } from '../numerics.ts'
import { nodeWasmPaths } from './nodeWasmPaths.ts'
import { tfjsSubject } from './numericsSubject.ts'

numerics('wasm in Node', tfjsSubject('wasm', nodeWasmPaths()))
