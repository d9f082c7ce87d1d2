/** For browser bundles only: Vite puts the .wasm files among the assets. Node has nodeWasmPaths.ts. */
import plain from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm?url'
import simd from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm?url'
import type { WasmPaths } from './backend.ts'

/** setWasmPaths wants all three names; the threaded build is never started (see backend.ts), so it is not shipped. */
export const browserWasmPaths: WasmPaths = {
  'tfjs-backend-wasm.wasm': plain,
  'tfjs-backend-wasm-simd.wasm': simd,
  'tfjs-backend-wasm-threaded-simd.wasm': simd,
}
