/**
 * The pseudo-gradient made on the device: only its packed bytes are read back. The residual lives on the device beside the
 * parameters; the base comes up into the gradients' buffers, which nobody needs between two jobs. Codecs that need an
 * order of all values (sparse) or have nothing to pack (f32) take the way over the host.
 */
import { CODECS } from '../../codec/codec.ts'
import { readScale } from '../../codec/scale.ts'
import { type ParameterRange, parameterCount } from '../../model/layout.ts'
import { checkLength, checkRanges } from '../checks.ts'
import { type Exchange, encodeDifference, ofFragment, sendable } from '../exchange.ts'
import { compile, type Executable, type Memory, newBuffer } from './executor.ts'
import {
  CHUNK,
  gatherDifference,
  PACKED_CODECS,
  type PackedCodec,
  type Piece,
  pack,
  packedWords,
  scatterResidual,
} from './kernels/pack.ts'
import { bytesIn, makeList, type Tensor, tensor } from './plan.ts'
import { bufferOf, type Replica, read, wholeOf, write } from './replica.ts'
import { pieces } from './state.ts'

type Bytes = Uint8Array<ArrayBuffer>

export interface DeviceExchange extends Exchange {
  dispose(): void
}

/** Values in a block of the codecs that are packed here. */
const BLOCK = 256

/** `mostValues`: of a chunk, whole pairs of blocks. */
export function deviceExchange(replica: Replica, mostValues = CHUNK): DeviceExchange {
  const { config, state, open } = replica
  const count = parameterCount(config)
  const whole = wholeOf(config)
  const residual = state.parameters.map(({ name, size }) => tensor(`residual of ${name}`, size))
  const plans = new Map<string, Promise<Packing>>()
  let memory: Memory | null = null
  /** Made when first needed: an engine that only evaluates has no residual. */
  const held = (): Memory => {
    memory ??= new Map(residual.map((one) => [one, newBuffer(open, bytesIn(one), one.name)]))
    return memory
  }
  const withResidual = (): Replica => ({ ...replica, memory: new Map([...replica.memory, ...held()]) })
  const packing = (codec: PackedCodec, fragment: readonly ParameterRange[]) => {
    const key = JSON.stringify([codec, fragment])
    const made = plans.get(key) ?? preparePacking(withResidual(), residual, codec, fragment, mostValues)
    plans.set(key, made)
    return made
  }
  const self: DeviceExchange = {
    setResidual(values, fragment = whole) {
      checkLength('residuals', values.length, checkRanges(fragment, count))
      write(withResidual(), residual, values, fragment)
    },
    getResidual: (fragment = whole) =>
      open.guard(async () => {
        checkRanges(fragment, count)
        return await read(withResidual(), residual, fragment)
      }),
    contribution: ({ codec, fragment, base, decay }) =>
      open.guard(async () => {
        const part = ofFragment(base, fragment, count)
        if (isPacked(codec)) {
          const ready = await packing(codec, fragment)
          write(replica, state.gradients, part, fragment)
          return await ready.run(decay)
        }
        const [local, after] = await Promise.all([
          read(replica, state.parameters, fragment),
          self.getResidual(fragment),
        ])
        const bytes = encodeDifference(codec, part, local, after, decay)
        self.setResidual(after, fragment)
        return bytes
      }),
    dispose() {
      for (const made of plans.values()) void made.then((one) => one.dispose()).catch(() => {}) // nothing was made
      for (const buffer of memory?.values() ?? []) buffer.destroy()
    },
  }
  return self
}

const isPacked = (codec: string): codec is PackedCodec => PACKED_CODECS.some((one) => one === codec)

interface Packing {
  /** The bytes of the fragment; its base stands in the gradients' buffers. */
  run(decay: number): Promise<Bytes>
  dispose(): void
}

/** Everything that a fragment's contributions need again and again. */
async function preparePacking(
  replica: Replica,
  residual: readonly Tensor[],
  codec: PackedCodec,
  fragment: readonly ParameterRange[],
  mostValues: number,
): Promise<Packing> {
  const { open } = replica
  const { device } = open
  const all = pieces(replica.state, fragment)
  const values = all.reduce((sum, { size }) => sum + size, 0)
  const most = Math.min(values, mostValues)
  const decayed = tensor('decay', 1)
  const chunk = tensor('chunk', most)
  const packed = tensor('packed', packedWords(codec, most))
  const own: Memory = new Map(
    [decayed, chunk, packed].map((one) => [one, newBuffer(open, bytesIn(one), one.name)]),
  )
  const memory = new Map([...replica.memory, ...own])
  const chunks: { executable: Executable; words: number }[] = []
  for (let start = 0; start < values; start += mostValues) {
    const size = Math.min(mostValues, values - start)
    const list = makeList()
    const inChunk = all.flatMap((one) => within(one, start, start + size))
    for (const { piece, segment } of inChunk) {
      const of = (tensors: readonly Tensor[]) => tensors[segment] as Tensor // pieces name segments that exist
      const { gradients, parameters } = replica.state
      const views = [of(gradients), of(parameters), of(residual), decayed, chunk] as const
      list.run('difference', gatherDifference(piece), ...views)
    }
    list.run('pack', pack(codec, size), chunk, packed)
    for (const { piece, segment } of inChunk)
      list.run('residual', scatterResidual(piece), chunk, residual[segment] as Tensor)
    const plan = { cleared: [], pass: list.calls, update: [] }
    chunks.push({ executable: await compile(open, plan, memory), words: packedWords(codec, size) })
  }
  const words = chunks.reduce((sum, one) => sum + one.words, 0)
  const { MAP_READ, COPY_DST } = GPUBufferUsage
  const staging = device.createBuffer({ size: 4 * words, usage: MAP_READ | COPY_DST, label: 'contribution' })
  return {
    async run(decay) {
      device.queue.writeBuffer(bufferOf({ ...replica, memory }, decayed), 0, Float32Array.of(decay))
      let at = 0
      for (const { executable, words } of chunks) {
        executable.pass()
        const encoder = device.createCommandEncoder()
        encoder.copyBufferToBuffer(executable.bufferOf(packed), 0, staging, at, 4 * words)
        device.queue.submit([encoder.finish()])
        at += 4 * words
      }
      await staging.mapAsync(GPUMapMode.READ)
      const bytes = new Uint8Array(staging.getMappedRange().slice(0, CODECS[codec].byteLength(values)))
      staging.unmap()
      checkScales(codec, bytes)
      return bytes
    },
    dispose() {
      for (const { executable } of chunks) executable.dispose()
      for (const buffer of [...own.values(), staging]) buffer.destroy()
    },
  }
}

/** What of a piece falls among the values from `start` to `end` of the fragment. */
function within(
  { segment, offset, size, at }: ReturnType<typeof pieces>[number],
  start: number,
  end: number,
): { segment: number; piece: Piece }[] {
  const [first, last] = [Math.max(at, start), Math.min(at + size, end)]
  if (first >= last) return []
  return [{ segment, piece: { size: last - first, stateAt: offset + first - at, chunkAt: first - start } }]
}

/** The kernel gives a block that cannot be sent an infinite scale. @throws EngineError `engine/not-finite` */
function checkScales(codec: PackedCodec, bytes: Bytes): void {
  const blockBytes = CODECS[codec].byteLength(BLOCK)
  sendable(() => {
    for (let at = 0; at < bytes.length; at += blockBytes) readScale(bytes, at)
  })
}
