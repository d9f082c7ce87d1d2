/** What keeps this tab from contributing: for good, or until something changes. */
import type { Lease, Receipt, RejectionReason, RunView, WaitReason } from '../../shared/protocol/run.ts'
import type { SwarmState } from './view.ts'

/** What keeps this page from contributing at all. */
export function obstacleOf(): SwarmState | null {
  if (!window.isSecureContext) return { kind: 'insecure', url: `https://${location.host}/` }
  if (typeof WebAssembly === 'undefined') return { kind: 'unsupported', missing: 'WebAssembly' }
  if (navigator.locks === undefined) return { kind: 'unsupported', missing: 'Web Locks' }
  return null
}

/** What may end a wait, for a round or for something to measure. */
export const chancesOf = (run: RunView | null): string =>
  JSON.stringify(run && [...stage(run), run.evaluation?.round])

const stage = ({ id, status, phase, era, round }: RunView) => [id, status, phase, era, round]

/** When this changes, who was refused a lease asks again; of places that come free it is called. */
export const prospectsOf = (run: RunView | null): string =>
  JSON.stringify(run && [run.id, run.era, run.weights === null, isDone(run)])

const isDone = ({ status }: RunView): boolean => ['completed', 'ended', 'failed'].includes(status)

/** Milliseconds after which a tab asks again uncalled, should a call have been lost: a crowd must not ask all the time. */
export const patienceOf = (run: Pick<RunView, 'present'> | null): number =>
  Math.max(30_000, 100 * (run?.present ?? 0))

/** Why a tab waits that was refused a lease for a reason when the run was at `then`. */
export function reasonToWait(reason: WaitReason, then: RunView | null, run: RunView | null): WaitReason {
  if (run === null) return 'no-run'
  if (then !== null && JSON.stringify(stage(then)) === JSON.stringify(stage(run))) return reason
  if (run.status === 'ready') return 'not-started'
  if (run.status !== 'running') return run.status
  return run.phase === 'training' ? 'round-full' : run.phase
}

/** Its round goes on without it. */
const LEFT_OUT: readonly RejectionReason[] = [
  'lapsed',
  'not-finite',
  'too-large-step',
  'bad-steps',
  'wrong-length',
  'hash-mismatch',
]

/** Whether its round may still want another contribution in the place of this one. */
export const wantsAnother = (receipt: Receipt): boolean =>
  receipt.result === 'rejected' && LEFT_OUT.includes(receipt.reason)

/**
 * Whether a lease can no longer be contributed: its round is closed or was rolled back, or there will be none. A view
 * of an earlier era than the lease's tells nothing of it.
 */
export function isOver(lease: Pick<Lease, 'run' | 'round' | 'era'>, run: RunView | null): boolean {
  if (run?.id !== lease.run || isDone(run)) return true
  return run.era > lease.era || (run.era === lease.era && run.round > lease.round)
}
