/** Whether a stored contribution may count, found slice by slice. The round machine has asked everything else. */
import { CODECS, type CodecName } from '../../shared/codec/codec.ts'
import { CodecError } from '../../shared/codec/errors.ts'
import type { RejectionReason } from '../../shared/protocol/run.ts'
import { openFileBlobStore } from '../store/fileBlobs.ts'
import { BlobReader } from './files.ts'
import type { Folders } from './fragment.ts'
import { SLICE } from './memory.ts'
import { Stopwatch } from './stopwatch.ts'
import { largestMagnitude } from './work.ts'

export interface ContributionCheck {
  /** In the vault. */
  readonly hash: string
  readonly parameters: number
  readonly codec: CodecName
  /** Inclusive bound on every magnitude: contributionBound of shared/diloco/bound.ts. */
  readonly bound: number
}

/**
 * [A6] Null when the bytes hold a pseudo-gradient whose every value is finite and within ±bound; else why not. Our own
 * damaged disk is never blamed on the volunteer. @throws PotluckError `not-found`, `bad-blob`
 */
export async function checkContribution(
  folders: Folders,
  { hash, parameters, codec, bound }: ContributionCheck,
): Promise<RejectionReason | null> {
  const vault = await openFileBlobStore(folders.vault)
  const reader = new BlobReader(vault.path(hash), hash, new Stopwatch())
  try {
    const { byteLength } = CODECS[codec]
    let reason: RejectionReason | null = reader.bytes === byteLength(parameters) ? null : 'wrong-length'
    const bytes = new Uint8Array(byteLength(SLICE))
    const values = new Float32Array(SLICE)
    for (let first = 0; reader.left > 0; first += SLICE) {
      const count = Math.min(SLICE, parameters - first)
      const slice = bytes.subarray(0, Math.min(bytes.length, reader.left))
      reader.fill(slice)
      reason ??= faultOf(codec, slice, values.subarray(0, count), bound)
    }
    reader.verify()
    return reason
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
