/** What a receipt says to people, and the HTTP status that carries it. */
import type { Receipt, RejectionReason } from '../../shared/protocol/run.ts'

const SENTENCES: Record<RejectionReason, string> = {
  'unknown-lease': 'Not used: the coordinator never gave out this lease.',
  'not-your-lease': 'Not used: this lease belongs to another volunteer.',
  stale: 'Not used: its round had closed before it arrived. The next one starts from the new weights.',
  lapsed:
    'Not used: its lease had ended before it arrived, because this tab was away or its work was refused. The round goes on.',
  early: 'Not used yet: its round has not begun. Send it again when it has.',
  duplicate: 'Not used: this lease was already answered with other bytes.',
  'wrong-length': 'Not used: it did not have the length the lease asks for.',
  'hash-mismatch': 'Not used: the bytes were damaged on the way. Sending again may help.',
  'not-finite':
    'Not used: it held invalid numbers, often a graphics-driver fault. Start again from the shared weights.',
  'too-large-step':
    'Not used: it moved further than the inner steps can. Start again from the shared weights.',
  'bad-steps': 'Not used: it claims more steps than the lease asked for.',
  removed: 'Not used: the operator removed this volunteer.',
}

export const sentenceFor = (reason: RejectionReason): string => SENTENCES[reason]

export const acceptedReceipt = (lease: string, round: number, tokens: number, repeated = false): Receipt => ({
  result: 'accepted',
  lease,
  round,
  tokens,
  repeated,
  message: repeated ? `Accepted before: counted once.` : `Accepted in round ${round}: ${tokens} tokens.`,
})

export const rejectedReceipt = (lease: string, round: number, reason: RejectionReason): Receipt => ({
  result: 'rejected',
  lease,
  round,
  reason,
  message: sentenceFor(reason),
})

const STATUS: Partial<Record<RejectionReason, number>> = {
  'unknown-lease': 404,
  'not-your-lease': 403,
  removed: 403,
  stale: 409,
  lapsed: 409,
  early: 409,
  duplicate: 409,
}

export const statusOf = (receipt: Receipt): number =>
  receipt.result === 'accepted' ? 200 : (STATUS[receipt.reason] ?? 422)
