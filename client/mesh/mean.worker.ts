/** Checks slices and takes their means in a Worker: seconds of arithmetic for a large model, which the page must not wait for. */
import { expose, transfer } from 'comlink'
import type { CodecName } from '../../shared/codec/codec.ts'
import { isSlice, meanSlice, type Weighed } from '../../shared/mesh/slices.ts'

const meaner = {
  mean(codec: CodecName, count: number, members: readonly Weighed[]): Uint8Array<ArrayBuffer> {
    const mean = meanSlice(codec, count, members)
    return transfer(mean, [mean.buffer])
  },
  isSlice,
}
export type Meaner = typeof meaner

expose(meaner)
