/**
 * The order of the data: an epoch is a permutation of the training sequences, seeded by the run's seed and the
 * epoch's number. It has two levels, shards in a shuffled order and each shard's sequences in a shuffled order, so a
 * range touches few shards; the corpus was shuffled across shards when it was built. Who trains which range is the
 * coordinator's business.
 */
import { PotluckError } from '../protocol/errors.ts'
import type { DataRange } from '../protocol/run.ts'
import { permutation } from './permutation.ts'

/** The part of a manifest that an epoch needs; a CorpusManifest is one. */
export interface TrainingShards {
  readonly training: readonly { readonly sequences: number }[]
}

/** One training sequence: `index` counts within `manifest.training[shard]`. */
export interface SequenceAddress {
  readonly shard: number
  readonly index: number
}

/** Training sequences, each of which an epoch has exactly once. */
export function sequencesInEpoch(manifest: TrainingShards): number {
  return manifest.training.reduce((sum, shard) => sum + shard.sequences, 0)
}

/**
 * The sequences of a range, in the order of training. The same arguments give the same answer everywhere; the
 * ranges of an epoch that share no position share no sequence. Costs a shuffle of the shards' list and of
 * every shard the range touches.
 * @throws PotluckError `bad-request` for a range that does not lie inside the epoch.
 */
export function sequencesOf(manifest: TrainingShards, seed: string, range: DataRange): SequenceAddress[] {
  requireInside(range, sequencesInEpoch(manifest))
  const { epoch, first, count } = range
  const addresses: SequenceAddress[] = []
  let start = 0
  for (const shard of permutation(manifest.training.length, seedOf(seed, epoch, 'shards'))) {
    const size = manifest.training[shard]?.sequences ?? 0
    const [from, to] = [Math.max(first - start, 0), Math.min(first + count - start, size)]
    if (from < to) {
      const order = permutation(size, seedOf(seed, epoch, shard))
      for (const index of order.subarray(from, to)) addresses.push({ shard, index })
    }
    start += size
  }
  return addresses
}

/** JSON keeps the parts apart whatever is in the seed. */
function seedOf(seed: string, epoch: number, part: 'shards' | number): string {
  return JSON.stringify(['epoch', seed, epoch, part])
}

function requireInside({ epoch, first, count }: DataRange, sequences: number): void {
  const whole = [epoch, first, count].every((value) => Number.isSafeInteger(value) && value >= 0)
  if (whole && count > 0 && first + count <= sequences) return
  throw new PotluckError(
    'bad-request',
    `The range of ${count} sequences from ${first} of epoch ${epoch} does not lie in an epoch of ${sequences} sequences.`,
  )
}

/**
 * The tokens of `addresses` end to end, `sequenceLength + 1` each.
 * @param shards the decoded tokens of every shard the addresses name, by its place in the manifest.
 * @throws PotluckError `bad-request` when a shard is missing or has no such sequence.
 */
export function gatherTokens(
  addresses: readonly SequenceAddress[],
  shards: ReadonlyMap<number, Uint16Array>,
  sequenceLength: number,
): Uint16Array<ArrayBuffer> {
  const size = sequenceLength + 1
  const tokens = new Uint16Array(addresses.length * size)
  addresses.forEach(({ shard, index }, at) => {
    const held = shards.get(shard)
    if (held === undefined || (index + 1) * size > held.length) {
      throw new PotluckError('bad-request', `Sequence ${index} of shard ${shard} is not here.`)
    }
    tokens.set(held.subarray(index * size, (index + 1) * size), at * size)
  })
  return tokens
}
