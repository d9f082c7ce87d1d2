/** What an exchange is made of, what it is told, and what it does to the world: the types of exchange.ts. */
import type { CodecName } from '../../shared/codec/codec.ts'
import type { Slice } from '../../shared/mesh/slices.ts'
import type { Clock } from '../rounds/driver.ts'

export interface Offer {
  readonly volunteer: string
  readonly lease: string
  readonly steps: number
  readonly loss: number
  /** Of the whole contribution, and of each slice. */
  readonly sha256: string
  readonly slices: readonly string[]
  /** Tokens, by L9. */
  readonly weight: number
}

export interface Result {
  /** One a slice, in order. */
  readonly slices: readonly string[]
  readonly members: readonly Offer[]
  /** That came to the coordinator for it. */
  readonly bytes: number
}

export interface ExchangePorts {
  readonly clock: Clock
  readonly random: () => number
  tell(volunteer: string, event: 'exchange' | 'reduce' | 'own' | 'settled', message: object): void
  /** Whether an offer of this member may still come: it has an open lease of the round, or may get one. */
  coming(volunteer: string): boolean
  /** Mean of a slice from blobs that have come; null when one is no slice. */
  sliceMean(count: number, members: readonly { hash: string; weight: number }[]): Promise<string | null>
  sliceHashes(hash: string, slices: readonly Slice[]): Promise<string[]>
  /** Whether this member's whole contribution, sent directly, could count. */
  fits(offer: Offer): Promise<boolean>
  /** Makes one contribution of it; by lease, the receipt of who is accepted. Empty when it is not to be. */
  settle(result: Result): Promise<ReadonlyMap<string, object>>
  /** [X6] */
  caught(volunteer: string, what: string): void
  /** Nothing more will come of it. */
  over(): void
}

export interface ExchangeParts {
  readonly id: string
  readonly group: string
  readonly members: readonly string[]
  readonly codec: CodecName
  readonly parameters: number
  readonly auditRate: number
  /** Unix milliseconds at which the exchange is given up at the latest. */
  readonly until: number
}
