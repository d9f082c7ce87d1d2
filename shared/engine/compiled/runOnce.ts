/** Runs a few kernels once on values from the host and reads what they made: for tests and measurements of parts. */
import type { OpenDevice } from '../gpuDevice.ts'
import { compile, readParts } from './executor.ts'
import type { List, Tensor } from './plan.ts'

export async function runOnce<Name extends string>(
  open: OpenDevice,
  { calls }: List,
  given: ReadonlyMap<Tensor, Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>>,
  wanted: Record<Name, Tensor>,
): Promise<Record<Name, Float32Array<ArrayBuffer>>> {
  const executable = await compile(open, { cleared: [], pass: calls, update: [] }, new Map())
  try {
    for (const [tensor, values] of given)
      open.device.queue.writeBuffer(executable.bufferOf(tensor), 0, values)
    executable.pass()
    const entries = Object.entries<Tensor>(wanted)
    const read = async ([name, tensor]: [string, Tensor]) => {
      const part = { buffer: executable.bufferOf(tensor), offset: 0, size: tensor.size }
      return [name, await open.guard(() => readParts(open, [part]))] as const
    }
    // The names are those of `wanted`.
    return Object.fromEntries(await Promise.all(entries.map(read))) as Record<Name, Float32Array<ArrayBuffer>>
  } finally {
    executable.dispose()
  }
}
