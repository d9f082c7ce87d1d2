/** Tiny real parameters by their hashes: what the blob stores are to the coordinator. Outlives restarts, as disks do. */
import { createHash } from 'node:crypto'
import { CODECS } from '../../../shared/codec/codec.ts'
import { applyDelta } from '../../../shared/diloco/delta.ts'
import { accumulate, applyOuterStep, pseudoGradient } from '../../../shared/diloco/outer.ts'
import type { Merge, MergedFragment } from '../events.ts'

export type Values = Float32Array<ArrayBuffer>

export const hashOf = (values: Values): string =>
  createHash('sha256').update(new Uint8Array(values.buffer)).digest('hex')

export class Vectors {
  readonly #byHash = new Map<string, Values>()

  put(values: Values): string {
    const hash = hashOf(values)
    this.#byHash.set(hash, values.slice())
    return hash
  }

  /** A copy. */
  get(hash: string): Values {
    const values = this.#byHash.get(hash)
    if (values === undefined) throw new Error(`Nothing is stored as ${hash}.`)
    return values.slice()
  }

  /** The outer step that a Merge names, by the functions that define it. */
  merge({ base, contributions, downlink, ...step }: Merge): MergedFragment {
    const weights = this.get(base.weights)
    const exact = this.get(base.exact ?? base.weights)
    const velocity = base.velocity === null ? new Float32Array(exact.length) : this.get(base.velocity)
    const sum = new Float64Array(exact.length)
    for (const { hash, weight } of contributions) accumulate(sum, this.get(hash), weight)
    const total = contributions.reduce((all, { weight }) => all + weight, 0)
    applyOuterStep(exact, velocity, sum, total, step)
    const bytes = CODECS[downlink].encode(pseudoGradient(exact, weights)) // θ − θ̂
    applyDelta(weights, CODECS[downlink].decode(bytes, weights.length))
    const hashes = { weights: this.put(weights), exact: this.put(exact), velocity: this.put(velocity) }
    const delta = { hash: createHash('sha256').update(bytes).digest('hex'), bytes: bytes.length }
    return {
      base: { parameters: base.parameters, ...hashes, largest: Math.max(...weights.map(Math.abs)) },
      delta,
    }
  }
}
