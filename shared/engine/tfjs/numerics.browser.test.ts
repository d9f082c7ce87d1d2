import { numerics } from '../numerics.ts'
import { browserWasmPaths } from './browserWasmPaths.ts'
import { tfjsSubject } from './numericsSubject.ts'

numerics('wasm in Chromium', tfjsSubject('wasm', browserWasmPaths))
numerics('webgl in Chromium', tfjsSubject('webgl'))

const inNode = 'slow on SwiftShader; numericsDawn.test.ts runs it in Node, with the same shaders'
numerics('webgpu in Chromium', {
  ...tfjsSubject('webgpu'),
  skip: {
    'a vocabulary of 32,768': inNode,
    'attention alone': inNode,
    'more than 65,535 rows of attention scores': inNode,
  },
})
