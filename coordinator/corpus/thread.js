/**
 * The thread's first file, in JavaScript because Node 20 runs no TypeScript and tsx, given as `--import`, registers
 * itself on the main thread only (tsx 4.23: `isMainThread` in its dist/esm/index.mjs; seen as `Unknown file extension
 * ".ts"`). It registers tsx here and goes on to worker.ts. When workers take `--import tsx`, delete this file and
 * start worker.ts instead.
 */
import { register } from 'tsx/esm/api'

register()
await import('./worker.ts')
