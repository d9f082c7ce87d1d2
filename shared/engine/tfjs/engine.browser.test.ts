import { engineContract } from '../contract.ts'
import { browserWasmPaths } from './browserWasmPaths.ts'
import { createTfjsEngine } from './createTfjsEngine.ts'

// Wasm in a browser has its turn in the Worker: client/worker/engineClient.browser.test.ts.
for (const backend of ['webgpu', 'webgl'] as const) {
  engineContract(`the TensorFlow.js engine on ${backend} in Chromium`, (config) =>
    createTfjsEngine({ backend, config, wasmPaths: browserWasmPaths }),
  )
}
