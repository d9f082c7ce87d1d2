/**
 * Adds a delta to weights without making the page stutter: a slice in each task. It compares no hash; weights.ts does.
 */
import type { Codec } from '../../shared/codec/codec.ts'
import { CodecError } from '../../shared/codec/errors.ts'

/** Values decoded and added in one task: a few milliseconds. */
const SLICE = 2 ** 20

export interface Addition {
  readonly values: Float32Array
  /** The delta, encoded. */
  readonly bytes: Uint8Array
  readonly codec: Codec
  /** Where the sum goes; may be `values`. Half written after an error. */
  readonly sum: Float32Array
}

/**
 * `sum[i] = f32(values[i] + delta[i])`.
 * @throws CodecError when the bytes are no delta of this length; the signal's reason when aborted.
 */
export async function addDelta(addition: Addition, signal: AbortSignal, slice = SLICE): Promise<void> {
  const { values, bytes, codec, sum } = addition
  const length = codec.byteLength(values.length)
  if (bytes.length !== length) {
    throw new CodecError('wrong-length', `${bytes.length} bytes instead of ${length}.`)
  }
  const step = Math.max(1, Math.floor(slice / codec.blockSize)) * codec.blockSize
  const delta = new Float32Array(Math.min(step, values.length))
  for (let start = 0; start < values.length; start += step) {
    const end = Math.min(start + step, values.length)
    const part = delta.subarray(0, end - start)
    codec.decodeInto(bytes.subarray(codec.byteLength(start), codec.byteLength(end)), part)
    // A Float32Array rounds what is put into it to f32; all indices are below the length.
    for (let i = start; i < end; i++) sum[i] = (values[i] as number) + (part[i - start] as number)
    await nextTask()
    signal.throwIfAborted()
  }
}

/** Unlike a timer, not held back to one a second in a hidden tab. */
function nextTask(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel()
    port1.onmessage = () => {
      port1.close()
      resolve()
    }
    port2.postMessage(null)
  })
}
