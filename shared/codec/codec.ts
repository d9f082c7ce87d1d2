/**
 * Pseudo-gradients as bytes. A codec turns a flat Float32Array into an exact number of bytes and back, block by
 * block: every full block has the same number of bytes and there is nothing around them, so a slice of parameters
 * that begins at a block is one slice of the bytes. Rules for all codecs are in RULES.md. This file is the interface and the
 * list; each codec has a file of its own, which opens with its format.
 */
import { f16 } from './f16.ts'
import { f32 } from './f32.ts'
import { int4 } from './int4.ts'
import { int8 } from './int8.ts'
import { sparse } from './sparse.ts'

/** No method uses `this`: they can be taken out of the object. */
export interface Codec {
  readonly name: CodecName
  /** Values in one block; a slice that begins at a multiple of it can be decoded alone. */
  readonly blockSize: number
  /** Bytes of `parameters` values, exactly; also the offset in bytes of the block boundary `parameters`. */
  byteLength(parameters: number): number
  /** @throws CodecError `not-finite` when a value is no finite number, or above 65504 in any codec but f32. */
  encode(values: Float32Array): Uint8Array<ArrayBuffer>
  /**
   * Decodes into a new array.
   * @throws CodecError and nothing else, whatever the bytes are; what it returns is finite.
   */
  decode(bytes: Uint8Array, parameters: number): Float32Array<ArrayBuffer>
  /**
   * Decodes the bytes of exactly `values.length` values into `values`, which is partly written after an error.
   * @throws CodecError and nothing else, whatever the bytes are.
   */
  decodeInto(bytes: Uint8Array, values: Float32Array): void
}

export const CODEC_NAMES = ['f32', 'f16', 'int8', 'int4', 'sparse'] as const
export type CodecName = (typeof CODEC_NAMES)[number]

export const CODECS: Readonly<Record<CodecName, Codec>> = { f32, f16, int8, int4, sparse }
