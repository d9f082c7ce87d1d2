/** What keeps this tab from contributing: for good, or until something changes. */
import type { Lease, RunView } from '../../shared/protocol/run.ts'
import type { SwarmState } from './view.ts'

/** What keeps this page from contributing at all. */
export function obstacleOf(): SwarmState | null {
  if (!window.isSecureContext) return { kind: 'insecure', url: `https://${location.host}/` }
  if (typeof WebAssembly === 'undefined') return { kind: 'unsupported', missing: 'WebAssembly' }
  if (navigator.locks === undefined) return { kind: 'unsupported', missing: 'Web Locks' }
  return null
}

/** What a refused request for a lease may hang on: only when it changes is it worth asking again. */
export const chancesOf = (run: RunView | null): string =>
  JSON.stringify(run && [run.id, run.status, run.phase, run.round, run.present, run.leased, run.accepted])

/** Whether a lease can no longer be contributed: its round is closed, or there will be none. */
export const isOver = (lease: Lease, run: RunView | null): boolean =>
  run?.id !== lease.run || run.round > lease.round || ['completed', 'ended', 'failed'].includes(run.status)
