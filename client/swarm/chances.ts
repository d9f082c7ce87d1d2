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
  JSON.stringify(
    run && [run.id, run.status, run.phase, run.era, run.round, run.present, run.leased, run.accepted],
  )

/**
 * Whether a lease can no longer be contributed: its round is closed or was rolled back, or there will be none. A view
 * of an earlier era than the lease's tells nothing of it.
 */
export function isOver(lease: Pick<Lease, 'run' | 'round' | 'era'>, run: RunView | null): boolean {
  if (run?.id !== lease.run || ['completed', 'ended', 'failed'].includes(run.status)) return true
  return run.era > lease.era || (run.era === lease.era && run.round > lease.round)
}
