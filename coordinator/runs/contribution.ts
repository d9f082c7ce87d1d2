/**
 * One contribution's way from the wire to a receipt. Everything is checked before it counts: whose lease, how long,
 * which hash, finite, no further than inner steps can go. It may come in several pieces (store/partials.ts keeps
 * them), and repeating a request is harmless at every point.
 */
import type { Readable } from 'node:stream'
import { CODECS } from '../../shared/codec/codec.ts'
import { contributionBound, travelBound } from '../../shared/diloco/bound.ts'
import { PotluckError } from '../../shared/protocol/errors.ts'
import type { Receipt, RejectionReason } from '../../shared/protocol/run.ts'
import type { Aggregator } from '../aggregate/aggregator.ts'
import { leaseFault, untoldOf } from '../rounds/contributions.ts'
import type { Clock, RoundDriver } from '../rounds/driver.ts'
import type { Effect } from '../rounds/events.ts'
import {
  fragmentIndex,
  fragmentOf,
  MOST_ROUNDS,
  ratesOf,
  roundSteps,
  totalSteps,
} from '../rounds/schedule.ts'
import type { Machine, OpenLease } from '../rounds/state.ts'
import type { LeaseRecord, MetadataStore } from '../store/metadata.ts'
import type { Partials, Received } from '../store/partials.ts'
import { acceptedReceipt, rejectedReceipt } from './messages.ts'

export interface Upload {
  readonly volunteer: string
  readonly lease: string
  readonly sha256: string
  readonly steps: number
  readonly loss: number
  /** Where in the contribution the body begins. */
  readonly offset: number
  /** Bytes the body is said to have; null when it does not say. */
  readonly length: number | null
  /** Read only after the lease was found open. */
  readonly body: Readable
}

export interface ContributionParts {
  readonly store: MetadataStore
  readonly partials: Partials
  readonly aggregator: Aggregator
  readonly clock: Clock
}

/** A contribution that has not come whole; the way on is from `offset`. */
export class IncompleteError extends PotluckError {
  constructor(
    code: 'upload-offset' | 'upload-cut',
    message: string,
    status: number,
    /** Bytes that have come and stay. */
    readonly offset: number,
  ) {
    super(code, message, status)
  }
}

/** Exact length of a lease's encoded contribution. */
export const contributionBytes = (machine: Machine, { round }: Pick<OpenLease, 'round'>): number =>
  CODECS[machine.config.codec].byteLength(fragmentOf(machine, round).base.parameters)

/** How much of an open lease's contribution has come; for any other lease the receipt that its upload would get. */
export async function uploadState(
  { store, partials }: Pick<ContributionParts, 'store' | 'partials'>,
  driver: RoundDriver | null,
  { lease, volunteer, sha256 }: { lease: string; volunteer: string; sha256?: string | undefined },
): Promise<{ readonly offset: number; readonly bytes: number } | Receipt> {
  const open = driver?.machine.leases.get(lease)
  if (!driver || open === undefined) return closedReceipt(store, driver, { lease, volunteer, sha256 })
  const { machine } = driver
  if (open.volunteer !== volunteer) return rejectedReceipt(lease, machine.round, 'not-your-lease')
  return { offset: partials.committed(lease, sha256), bytes: contributionBytes(machine, open) }
}

/** @throws IncompleteError when more has to come. */
export async function receiveContribution(
  parts: ContributionParts,
  driver: RoundDriver | null,
  upload: Upload,
): Promise<Receipt> {
  const { lease, volunteer, sha256 } = upload
  const open = driver?.machine.leases.get(lease)
  if (!driver || open === undefined) return answerClosed(parts, driver, upload)
  const { machine } = driver
  if (open.volunteer !== volunteer) return rejectedReceipt(lease, machine.round, 'not-your-lease')
  const fault = await storeAndCheck(parts, machine, open, upload)
  if (fault === 'discarded') return answerClosed(parts, driver, upload)
  const now = parts.clock.now()
  if (fault !== null) {
    const hash = fault === 'wrong-length' || fault === 'hash-mismatch' ? null : sha256
    await driver.dispatch({ type: 'unfit', volunteer, lease, reason: fault, hash, now })
    return rejectedReceipt(lease, machine.round, fault)
  }
  const bytes = contributionBytes(machine, open)
  const content = { hash: sha256, bytes, steps: upload.steps, trainLoss: upload.loss }
  const effects = await driver.dispatch({ type: 'contribution', volunteer, lease, content, now })
  return receiptOf(effects, machine.round, lease) ?? answerClosed(parts, driver, upload)
}

const CLOSED: readonly RejectionReason[] = ['stale', 'lapsed', 'duplicate']

/** A lease that is not open: answered before, over, or never given. Nothing of the body is read. */
async function answerClosed(
  { store, clock }: ContributionParts,
  driver: RoundDriver | null,
  upload: Upload,
): Promise<Receipt> {
  const receipt = await closedReceipt(store, driver, upload)
  const { lease, volunteer } = upload
  if (receipt.result === 'rejected' && CLOSED.includes(receipt.reason)) {
    const { reason } = receipt
    await driver?.dispatch({ type: 'unfit', volunteer, lease, reason, hash: null, now: clock.now() })
  }
  return receipt
}

async function closedReceipt(
  store: MetadataStore,
  driver: RoundDriver | null,
  { lease, volunteer, sha256 }: { lease: string; volunteer: string; sha256?: string | undefined },
): Promise<Receipt> {
  const known = await store.lease(lease)
  if (!known) return rejectedReceipt(lease, driver?.machine.round ?? 0, 'unknown-lease')
  if (known.volunteer !== volunteer) return rejectedReceipt(lease, known.round, 'not-your-lease')
  const before = await store.contribution(lease)
  if (before?.result === 'accepted' && before.hash === sha256) {
    return acceptedReceipt(lease, before.round, before.tokens, true)
  }
  if (before?.result === 'accepted') return rejectedReceipt(lease, known.round, 'duplicate')
  return rejectedReceipt(lease, known.round, isUnderWay(driver, known) ? 'lapsed' : 'stale')
}

/** Whether the round of a lease that has ended goes on, and may want another in its place. */
function isUnderWay(driver: RoundDriver | null, { run, round, end }: LeaseRecord): boolean {
  const { machine } = driver ?? {}
  if (end === 'closed' || end === 'rolled-back' || machine?.phase !== 'training') return false
  return machine.run === run && machine.round === round
}

/** No await before `receive`: the lease that was found open is open when its upload begins. */
async function storeAndCheck(
  { partials, aggregator }: ContributionParts,
  machine: Machine,
  lease: OpenLease,
  upload: Upload,
): Promise<RejectionReason | 'discarded' | null> {
  const { sha256, steps, offset, length, body } = upload
  const refused = leaseFault(machine, lease, upload)
  if (refused !== null) return refused
  const bytes = contributionBytes(machine, lease)
  if (length !== null && offset + length !== bytes) return 'wrong-length'
  const piece = { lease: upload.lease, hash: sha256, bytes, offset }
  const received = await partials.receive(body, piece)
  const fault = faultOf(received)
  if (fault !== null) return fault
  const { parameters } = fragmentOf(machine, lease.round).base
  const { codec } = machine.config
  const check = { hash: sha256, parameters, codec, bound: boundOf(machine, lease, steps) }
  return aggregator.check(check).catch((error: unknown) => {
    partials.doubt(upload.lease)
    throw error
  })
}

/** Null when the contribution is stored. @throws IncompleteError when more has to come. */
export function faultOf(received: Received): 'wrong-length' | 'hash-mismatch' | 'discarded' | null {
  switch (received.result) {
    case 'stored':
      return null
    case 'wrong-length':
    case 'hash-mismatch':
    case 'discarded':
      return received.result
    case 'ahead':
      throw new IncompleteError(
        'upload-offset',
        `Only ${received.committed} bytes have come. Go on from there.`,
        409,
        received.committed,
      )
    default:
      throw cutOff(received.result, received.committed)
  }
}

const CUTS = {
  broken: [408, 'The connection broke off'],
  stalled: [408, 'Nothing came for too long'],
  superseded: [409, 'A newer request for this lease took over'],
  closing: [503, 'The coordinator is stopping'],
} as const

function cutOff(why: keyof typeof CUTS, committed: number): IncompleteError {
  const [status, what] = CUTS[why]
  const message = `${what}. ${committed} bytes have come and stay; go on from there.`
  return new IncompleteError('upload-cut', message, status, committed)
}

/** The largest value that an honest contribution of so many steps of this lease can hold. */
export function boundOf(
  machine: Machine,
  lease: Pick<OpenLease, 'volunteer' | 'round' | 'after'>,
  steps: number,
): number {
  const { config } = machine
  const { base } = fragmentOf(machine, lease.round)
  const before = untoldOf(machine, lease)[fragmentIndex(config, lease.round)]?.rates ?? 0
  const decay = 1 / totalSteps(config)
  const travel = travelBound(before + ratesOf(config, lease.round, steps), decay, base.largest)
  const mostSteps = MOST_ROUNDS * roundSteps(config) * config.fragments
  const longest = travelBound(mostSteps * config.innerLearningRate, decay, base.largest)
  return contributionBound(config.codec, travel, config.errorFeedback === 0 ? 0 : longest)
}

function receiptOf(effects: readonly Effect[], round: number, lease: string): Receipt | null {
  for (const effect of effects) {
    if (effect.type === 'accepted') return acceptedReceipt(lease, round, effect.contribution.tokens)
    if (effect.type === 'refused' && effect.reason !== 'stale')
      return rejectedReceipt(lease, round, effect.reason)
  }
  return null
}
