/**
 * Pseudo-gradients as bytes. A codec turns a flat Float32Array into a fixed number of bytes and back; rules for
 * all of them are in RULES.md. This file is the interface and the list; each codec has a file of its own.
 */
import { f16 } from './f16.ts'

export interface Codec {
  readonly name: string
  /** Exact number of bytes for `parameters` values. */
  byteLength(parameters: number): number
  /** @throws CodecError `not-finite` when a value is not a finite number. */
  encode(values: Float32Array): Uint8Array<ArrayBuffer>
  /** @throws CodecError `wrong-length` or `not-finite`, and nothing else, whatever the bytes are. */
  decode(bytes: Uint8Array, parameters: number): Float32Array<ArrayBuffer>
}

export const CODECS = { f16 } as const satisfies Record<string, Codec>
export type CodecName = keyof typeof CODECS
