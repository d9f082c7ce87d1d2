/** For Node only: where the installed package keeps its .wasm files. A browser bundle passes URLs instead. */
import type { WasmPaths } from './backend.ts'

/** A file URL with a slash at its end. */
export function nodeWasmPaths(): WasmPaths {
  // The package's main file lies beside them, in dist/.
  return new URL('.', import.meta.resolve('@tensorflow/tfjs-backend-wasm')).href
}
