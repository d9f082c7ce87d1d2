/** Whether a stored contribution may count, found slice by slice. The round machine has asked everything else. */
import { CODECS, type CodecName } from '../../shared/codec/codec.ts'
import { CodecError } from '../../shared/codec/errors.ts'
import type { RejectionReason } from '../../shared/protocol/run.ts'
import { openFileBlobStore } from '../store/fileBlobs.ts'
import { BlobReader } from './files.ts'
import type { Folders } from './fragment.ts'
import { loadKernels } from './kernels.ts'
import { largestMagnitude } from './largest.ts'
import { SLICE, sharedMemory } from './memory.ts'
import { SEAL_BYTES, SEALED_AT_ONCE } from './sealKernel.ts'
import { Stopwatch } from './stopwatch.ts'

export interface ContributionCheck {
  /** In the vault. */
  readonly hash: string
  readonly parameters: number
  readonly codec: CodecName
  /** Inclusive bound on every magnitude: contributionBound of shared/diloco/bound.ts. */
  readonly bound: number
}

export interface Checked {
  /** Null: the contribution may count. */
  readonly reason: RejectionReason | null
  /** For Seals. */
  readonly seal: string | null
}

/**
 * [A6] No reason when the bytes hold a pseudo-gradient whose every value is finite and within ±bound; else why not. Our own
 * damaged disk is never blamed on the volunteer. @throws PotluckError `not-found`, `bad-blob`
 */
export async function checkContribution(
  folders: Folders,
  { hash, parameters, codec, bound }: ContributionCheck,
): Promise<Checked> {
  const vault = await openFileBlobStore(folders.vault)
  const { byteLength } = CODECS[codec]
  const memory = sharedMemory({ bytes: byteLength(SLICE) + SEALED_AT_ONCE + SEAL_BYTES })
  const kernels = await loadKernels(memory)
  const sealer = kernels && { seal: kernels.seal, memory, state: memory.buffer.byteLength - SEAL_BYTES }
  const desk = { watch: new Stopwatch(), sealer }
  const reader = new BlobReader({ path: vault.path(hash), hash, seal: null }, desk, true)
  try {
    let reason: RejectionReason | null = reader.bytes === byteLength(parameters) ? null : 'wrong-length'
    const bytes = new Uint8Array(memory.buffer, 0, byteLength(SLICE))
    const values = new Float32Array(SLICE)
    for (let first = 0; reader.left > 0; first += SLICE) {
      const count = Math.min(SLICE, parameters - first)
      const slice = bytes.subarray(0, Math.min(bytes.length, reader.left))
      reader.fill(slice)
      reason ??= faultOf(codec, slice, values.subarray(0, count), bound)
    }
    return { reason, seal: reader.verify() }
  } finally {
    reader.close()
  }
}

function faultOf(
  codec: CodecName,
  bytes: Uint8Array,
  values: Float32Array,
  bound: number,
): RejectionReason | null {
  try {
    CODECS[codec].decodeInto(bytes, values)
    return largestMagnitude(values) <= bound ? null : 'too-large-step'
  } catch (error) {
    if (!(error instanceof CodecError)) throw error
    // Whatever else is wrong with the bytes, they are no numbers of this codec.
    return error.code === 'wrong-length' ? 'wrong-length' : 'not-finite'
  }
}
