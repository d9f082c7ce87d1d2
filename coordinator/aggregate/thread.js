/**
 * Where an aggregation thread begins: Node starts threads with plain JavaScript only, so this registers the
 * TypeScript loader and hands over to tasks.ts.
 */
import { register } from 'tsx/esm/api'

register()
export const { contribution, hashesOfSlices, mean, mergePart, regrouped, together, untrained, weights } =
  await import('./tasks.ts')
