/**
 * Which document goes where, decided by the seed and its number alone, so that an import that was interrupted decides
 * the same again. Pure.
 */
import { randomFrom } from '../../../shared/model/random.ts'

const MIB = 2 ** 20
/** Validation text, in bytes: no less where there is so much, and no more than is ever needed. */
const VALIDATION = { least: 256 * 1024, most: 16 * MIB }
const SHARES = { usual: 0.005, most: 0.1 }
/** Text in a bucket, as far as its number allows. */
const BUCKET = { bytes: 32 * MIB, most: 256 }
/** Fewer documents cannot be told apart into training and validation. */
export const LEAST_DOCUMENTS = 10

export interface Scheme {
  readonly buckets: number
  /** One of so many documents is validation; 0 when the data has validation text of its own. */
  readonly every: number
  readonly seed: string
}

/** @param bytes of text, as well as it can be told beforehand. */
export function schemeFor(bytes: number, seed: string, ownValidation: boolean): Scheme {
  const share = Math.min(
    SHARES.most,
    Math.max(SHARES.usual, VALIDATION.least / bytes),
    VALIDATION.most / bytes,
  )
  const buckets = Math.min(BUCKET.most, Math.max(1, Math.ceil(bytes / BUCKET.bytes)))
  return { buckets, every: ownValidation ? 0 : Math.round(1 / share), seed }
}

/** The bucket of every document by its number, or `validation`. */
export function placing({ buckets, every, seed }: Scheme): (document: number) => number | 'validation' {
  const draw = drawing(`${seed} bucket`)
  const offset = drawing(`${seed} validation`)
  return (document) => {
    if (every > 0) {
      const block = Math.floor(document / every)
      // The first of the first block comes early, so that every corpus has one.
      const among = block === 0 ? Math.min(every, LEAST_DOCUMENTS) : every
      if (document % every === offset(block) % among) return 'validation'
    }
    return draw(document) % buckets
  }
}

/** 32 random bits for every number: MurmurHash3's finalizer. */
function drawing(seed: string): (index: number) => number {
  const start = Math.floor(randomFrom(seed)() * 2 ** 32)
  return (index) => {
    let hash = start ^ Math.imul(index + 1, 0x9e3779b1)
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
    return (hash ^ (hash >>> 16)) >>> 0
  }
}
