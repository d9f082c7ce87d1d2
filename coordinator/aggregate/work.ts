/**
 * What the aggregation thread does, as plain functions over bytes: checks a contribution, merges a round. No
 * files, no threads: tasks.ts opens the files and aggregator.ts is the door.
 */
import { CODECS } from '../../shared/codec/codec.ts'
import { CodecError } from '../../shared/codec/errors.ts'
import { bytesToFloats, floatsToBytes } from '../../shared/codec/floats.ts'
import { accumulate, applyOuterStep } from '../../shared/diloco/outer.ts'
import type { RejectionReason } from '../../shared/protocol/run.ts'

/** Null when the bytes hold a pseudo-gradient whose every value is finite and within ±bound; else the reason. */
export function faultOf(bytes: Uint8Array, parameters: number, bound: number): RejectionReason | null {
  try {
    const values = CODECS.f16.decode(bytes, parameters)
    return largestMagnitude(values) <= bound ? null : 'too-large-step'
  } catch (error) {
    if (!(error instanceof CodecError)) throw error
    return error.code === 'malformed' ? 'not-finite' : error.code
  }
}

export interface MergeInput {
  /** f32 blobs; velocity null means all zeros. */
  readonly weights: Uint8Array
  readonly velocity: Uint8Array | null
  readonly learningRate: number
  readonly momentum: number
}

export interface MergeOutput {
  readonly weights: Uint8Array<ArrayBuffer>
  readonly velocity: Uint8Array<ArrayBuffer>
  readonly largest: number
}

/** The outer step over contributions in the order they come; deterministic to the bit. */
export async function mergeRound(
  input: MergeInput,
  contributions: AsyncIterable<{ bytes: Uint8Array; tokens: number }>,
): Promise<MergeOutput> {
  const parameters = bytesToFloats(input.weights)
  const velocity = input.velocity ? bytesToFloats(input.velocity) : new Float32Array(parameters.length)
  const sum = new Float64Array(parameters.length)
  let totalTokens = 0
  for await (const { bytes, tokens } of contributions) {
    accumulate(sum, CODECS.f16.decode(bytes, parameters.length), tokens)
    totalTokens += tokens
  }
  applyOuterStep(parameters, velocity, sum, totalTokens, input)
  const largest = largestMagnitude(parameters)
  return { weights: floatsToBytes(parameters), velocity: floatsToBytes(velocity), largest }
}

export function largestMagnitude(values: Float32Array): number {
  let largest = 0
  for (let i = 0; i < values.length; i++) {
    const magnitude = Math.abs(values[i] as number) // i < length
    if (!(magnitude <= largest)) largest = magnitude
  }
  return largest
}
