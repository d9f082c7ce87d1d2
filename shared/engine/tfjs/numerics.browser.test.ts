import { browserWasmPaths } from './browserWasmPaths.ts'
import { numerics } from './numerics.ts'

const wasmPaths = browserWasmPaths
numerics('wasm in Chromium', { backend: 'wasm', wasmPaths })
numerics('webgl in Chromium', { backend: 'webgl' })

const inNode = 'slow on SwiftShader; numericsDawn.test.ts runs it in Node, with the same shaders'
numerics('webgpu in Chromium', {
  backend: 'webgpu',
  skip: {
    'a vocabulary of 32,768': inNode,
    'attention alone': inNode,
    'more than 65,535 rows of attention scores': inNode,
  },
})
