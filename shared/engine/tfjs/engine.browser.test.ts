import { engineContract } from '../contract.ts'
import { BACKENDS } from '../engine.ts'
import { browserWasmPaths } from './browserWasmPaths.ts'
import { createTfjsEngine } from './createTfjsEngine.ts'

for (const backend of BACKENDS) {
  engineContract(`the TensorFlow.js engine on ${backend} in Chromium`, (config) =>
    createTfjsEngine({ backend, config, wasmPaths: browserWasmPaths }),
  )
}
