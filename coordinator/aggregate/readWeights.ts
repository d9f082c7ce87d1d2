/** A safetensors file that somebody brought, into a flat blob of f32 in the vault. [W4] */
import { closeSync, fstatSync, openSync } from 'node:fs'
import { HALVES } from '../../shared/codec/half.ts'
import type { ModelConfig } from '../../shared/model/config.ts'
import {
  bad,
  SAFETENSORS_DTYPES,
  SAFETENSORS_PREFIX,
  type SafetensorsDtype,
  type StoredTensor,
  safetensorsHeaderLength,
  safetensorsTensors,
} from '../../shared/model/safetensors.ts'
import type { Folders } from './fragment.ts'
import { SLICE } from './memory.ts'
import { bytesIn, readExactly, type Values, type Write, writeValues } from './regroup.ts'

export interface WeightsFile {
  readonly path: string
  readonly model: ModelConfig
}

/** @throws PotluckError `bad-weights`, naming the tensor and the place */
export async function readWeights(folders: Folders, { path, model }: WeightsFile): Promise<Values> {
  const file = openSync(path, 'r')
  try {
    const tensors = tensorsOf(file, model)
    return await writeValues(folders.vault, (write) => {
      for (const tensor of tensors) readTensor(file, tensor, write)
    })
  } finally {
    closeSync(file)
  }
}

function tensorsOf(file: number, model: ModelConfig): StoredTensor[] {
  const { size } = fstatSync(file)
  const prefix = new Uint8Array(Math.min(size, SAFETENSORS_PREFIX))
  readExactly(file, prefix, 0)
  const header = new Uint8Array(safetensorsHeaderLength(prefix, size))
  readExactly(file, header, SAFETENSORS_PREFIX)
  return safetensorsTensors(header, size, model)
}

function readTensor(file: number, { entry, dtype, start }: StoredTensor, write: Write): void {
  const width = SAFETENSORS_DTYPES[dtype]
  const values = new Float32Array(Math.min(SLICE, entry.size))
  const bytes = width === 4 ? bytesIn(values) : new Uint8Array(width * values.length)
  for (let first = 0; first < entry.size; first += SLICE) {
    const count = Math.min(SLICE, entry.size - first)
    const slice = values.subarray(0, count)
    readExactly(file, bytes.subarray(0, width * count), start + width * first)
    widen(bytes, dtype, slice)
    const wrong = slice.findIndex((value) => !Number.isFinite(value))
    if (wrong >= 0)
      throw bad(
        `value ${first + wrong} of the tensor ${entry.name}, at byte ${start + width * (first + wrong)}, is ${slice[wrong]}`,
      )
    write(slice)
  }
}

/** Exact: f32 has every value of both halves. */
function widen(bytes: Uint8Array, dtype: SafetensorsDtype, values: Float32Array): void {
  if (dtype === 'F32') return // they were read in place
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, values.length)
  if (dtype === 'F16') {
    for (let i = 0; i < values.length; i++) values[i] = HALVES[halves[i] as number] as number // the table has all
    return
  }
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length)
  for (let i = 0; i < values.length; i++) bits[i] = (halves[i] as number) << 16 // i < length
}
