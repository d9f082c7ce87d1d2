/**
 * One contribution's way from the wire to a receipt. Everything is checked before it counts: whose lease, how long,
 * which hash, finite, no further than inner steps can go. Repeating a request is harmless at every point.
 */
import { CODECS } from '../../shared/codec/codec.ts'
import { travelBound } from '../../shared/diloco/bound.ts'
import { innerLearningRate } from '../../shared/engine/schedule.ts'
import type { Receipt, RejectionReason } from '../../shared/protocol/run.ts'
import type { Aggregator } from '../aggregate/aggregator.ts'
import type { Clock, RoundDriver } from '../rounds/driver.ts'
import type { Effect } from '../rounds/machine.ts'
import type { Machine } from '../rounds/state.ts'
import type { BlobStore } from '../store/blobs.ts'
import type { MetadataStore } from '../store/metadata.ts'
import { acceptedReceipt, rejectedReceipt } from './messages.ts'

export interface Upload {
  readonly volunteer: string
  readonly lease: string
  readonly sha256: string
  readonly steps: number
  readonly loss: number
  /** Read only after the lease was found open. */
  readonly body: AsyncIterable<Uint8Array>
}

export interface ContributionParts {
  readonly store: MetadataStore
  readonly vault: BlobStore
  readonly aggregator: Aggregator
  readonly clock: Clock
}

export async function receiveContribution(
  parts: ContributionParts,
  driver: RoundDriver | null,
  upload: Upload,
): Promise<Receipt> {
  const { lease, volunteer, sha256 } = upload
  const open = driver?.machine.leases[lease]
  if (!driver || open === undefined) return answerClosed(parts, driver, upload)
  const { machine } = driver
  if (open.volunteer !== volunteer) return rejectedReceipt(lease, machine.round, 'not-your-lease')
  const fault = await storeAndCheck(parts, machine, upload, open.steps)
  const now = parts.clock.now()
  if (fault !== null) {
    const hash = fault === 'wrong-length' || fault === 'hash-mismatch' ? null : sha256
    await driver.dispatch({ type: 'unfit', volunteer, lease, reason: fault, hash, now })
    return rejectedReceipt(lease, machine.round, fault)
  }
  const bytes = CODECS.f16.byteLength(machine.parameters)
  const content = { hash: sha256, bytes, steps: upload.steps, trainLoss: upload.loss }
  const effects = await driver.dispatch({ type: 'contribution', volunteer, lease, content, now })
  return receiptOf(effects, machine.round, lease) ?? answerClosed(parts, driver, upload)
}

/** A lease that is not open: answered before, over, or never given. Nothing of the body is read. */
async function answerClosed(
  { store, clock }: ContributionParts,
  driver: RoundDriver | null,
  { lease, volunteer, sha256 }: Upload,
): Promise<Receipt> {
  const known = await store.lease(lease)
  if (!known) return rejectedReceipt(lease, driver?.machine.round ?? 0, 'unknown-lease')
  if (known.volunteer !== volunteer) return rejectedReceipt(lease, known.round, 'not-your-lease')
  const before = await store.contribution(lease)
  if (before?.result === 'accepted' && before.hash === sha256) {
    return acceptedReceipt(lease, before.round, before.tokens, true)
  }
  const reason: RejectionReason = before?.result === 'accepted' ? 'duplicate' : 'stale'
  await driver?.dispatch({ type: 'unfit', volunteer, lease, reason, hash: null, now: clock.now() })
  return rejectedReceipt(lease, known.round, reason)
}

async function storeAndCheck(
  { vault, aggregator }: ContributionParts,
  machine: Machine,
  { sha256, steps, body }: Upload,
  leased: number,
): Promise<RejectionReason | null> {
  if (steps > leased) return 'bad-steps'
  const bytes = CODECS.f16.byteLength(machine.parameters)
  const stored = await vault.putStream(body, { hash: sha256, bytes })
  if (stored !== 'stored') return stored
  return aggregator.check({ hash: sha256, parameters: machine.parameters, bound: boundOf(machine, steps) })
}

/** The furthest that these inner steps of the recipe can move a parameter of this base. */
export function boundOf({ config, round, base }: Machine, steps: number): number {
  const total = config.rounds * config.innerSteps
  const first = (round - 1) * config.innerSteps
  const rates = Array.from({ length: steps }, (_, i) =>
    innerLearningRate(first + i, total, config.innerLearningRate),
  )
  return travelBound(rates, 1 / total, base.largest)
}

function receiptOf(effects: readonly Effect[], round: number, lease: string): Receipt | null {
  for (const effect of effects) {
    if (effect.type === 'accepted') return acceptedReceipt(lease, round, effect.contribution.tokens)
    if (effect.type === 'refused' && effect.reason !== 'stale')
      return rejectedReceipt(lease, round, effect.reason)
  }
  return null
}
