/**
 * A merge from the outside: lays out its memory, runs its parts, and publishes what they made once all of them have
 * found every input whole. Does no arithmetic (part.ts).
 */
import { randomUUID } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { CODECS } from '../../shared/codec/codec.ts'
import type { BlobStore } from '../store/blobs.ts'
import { openFileBlobStore } from '../store/fileBlobs.ts'
import { BARRIER_BYTES } from './barrier.ts'
import type { Merged, MergeTask } from './fragment.ts'
import { layoutOf, sharedMemory } from './memory.ts'
import { OUTPUTS, type Output, type PartJob, type PartResult } from './part.ts'
import type { Seals } from './seals.ts'
import type { Spent } from './stopwatch.ts'

export interface MergeHow {
  /** How many parts; runPart must be able to run that many at once. */
  readonly threads: number
  readonly runPart: (job: PartJob) => Promise<PartResult>
  /** False: without WebAssembly, to the same bits. */
  readonly kernel?: boolean
  /** The blobs that this process has seen whole; without it, everything is hashed. */
  readonly seals?: Seals
  /** Hears where each thread's time went. */
  readonly onSpent?: (spent: readonly Spent[]) => void
}

/** The merged fragment; its blobs are durable. @throws PotluckError `not-found`, `bad-blob`, `bad-state` */
export async function mergeFragment({ folders, merge }: MergeTask, how: MergeHow): Promise<Merged> {
  if (merge.contributions.length === 0) throw new RangeError('A merge needs at least one contribution.')
  const blobs = await openFileBlobStore(folders.blobs)
  const vault = await openFileBlobStore(folders.vault)
  const { base } = merge
  const temporary = (folder: string) => join(folder, 'incoming', randomUUID())
  const outputs: Record<Output, string> = {
    weights: temporary(folders.blobs),
    exact: temporary(folders.vault),
    velocity: temporary(folders.vault),
    delta: temporary(folders.blobs),
  }
  const { seals } = how
  const source = (store: BlobStore, hash: string) => ({
    path: store.path(hash),
    hash,
    seal: seals?.get(hash) ?? null,
  })
  const kept = (hash: string | null) => (hash === null ? null : source(vault, hash))
  const job = {
    threads: how.threads,
    memory: sharedMemory(layoutOf(merge.codec, merge.downlink)),
    barrier: new SharedArrayBuffer(BARRIER_BYTES),
    parameters: base.parameters,
    codec: merge.codec,
    downlink: merge.downlink,
    learningRate: merge.learningRate,
    momentum: merge.momentum,
    weights: source(blobs, base.weights),
    exact: kept(base.exact),
    velocity: kept(base.velocity),
    contributions: merge.contributions.map(({ hash, weight }) => ({ ...source(vault, hash), weight })),
    outputs,
    kernel: how.kernel ?? true,
  }
  try {
    const parts = await allOf(Array.from({ length: how.threads }, (_, rank) => how.runPart({ ...job, rank })))
    how.onSpent?.(parts.map(({ spent }) => spent))
    const made = madeBy(parts)
    // What volunteers may fetch comes last. A crash in between leaves blobs that the next try makes again.
    await vault.adopt(outputs.exact, made.exact.hash)
    await vault.adopt(outputs.velocity, made.velocity.hash)
    await blobs.adopt(outputs.weights, made.weights.hash)
    await blobs.adopt(outputs.delta, made.delta.hash)
    for (const { hash, seal } of Object.values(made)) seals?.set(hash, seal)
    return {
      base: {
        parameters: base.parameters,
        weights: made.weights.hash,
        exact: made.exact.hash,
        velocity: made.velocity.hash,
        largest: Math.max(...parts.map(({ largest }) => largest)),
      },
      delta: { hash: made.delta.hash, bytes: made.delta.bytes },
    }
  } finally {
    await Promise.all(Object.values(outputs).map((path) => rm(path, { force: true })))
  }
}

/** Waits for all, so that no thread still writes when the files are removed; then throws what went wrong first. */
async function allOf(parts: Promise<PartResult>[]): Promise<PartResult[]> {
  const settled = await Promise.allSettled(parts)
  const failures = settled.flatMap((one) => (one.status === 'rejected' ? [one.reason as Error] : []))
  const cause = failures.find(({ name }) => name !== 'Abandoned') ?? failures[0]
  if (cause) throw cause
  return settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
}

function madeBy(parts: readonly PartResult[]) {
  const made = parts.flatMap((part) => part.made)
  const of = (output: Output) => {
    const one = made.find((each) => each.output === output)
    if (!one) throw new Error(`No part made ${output}.`)
    return one
  }
  return Object.fromEntries(OUTPUTS.map((output) => [output, of(output)])) as Record<
    Output,
    ReturnType<typeof of>
  > // OUTPUTS has every Output
}

/** Bytes below which a second thread costs more than it gives: about 10 ms of work. */
const WORTH_A_THREAD = 16 * 1024 * 1024

/** At most `most` threads, for a merge of this size. */
export function threadsFor({ merge }: Pick<MergeTask, 'merge'>, most: number): number {
  const { base, codec, contributions } = merge
  const bytes = contributions.length * CODECS[codec].byteLength(base.parameters) + 24 * base.parameters
  return Math.max(1, Math.min(most, Math.floor(bytes / WORTH_A_THREAD)))
}
