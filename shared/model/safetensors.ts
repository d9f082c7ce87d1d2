/**
 * Safetensors (huggingface/safetensors: u64 length, JSON, padded to 8 bytes with spaces, then the data) for a model's
 * parameters: the header to write before a flat blob of f32, and a strict reader of headers that others wrote. Matrices
 * are [inputs, outputs] in both.
 */
import { z } from 'zod'
import { PotluckError } from '../protocol/errors.ts'
import type { ModelConfig } from './config.ts'
import { type ParameterEntry, parameterLayout } from './layout.ts'
import { repeatedKey } from './repeatedKey.ts'

/** Bytes before the JSON: its length. */
export const SAFETENSORS_PREFIX = 8
/** Bytes of JSON; the largest preset needs a fiftieth of it. */
export const MAX_SAFETENSORS_HEADER = 4 * 1024 * 1024

export function safetensorsHeader(
  config: ModelConfig,
  metadata: Readonly<Record<string, string>>,
): Uint8Array<ArrayBuffer> {
  const shape = Object.fromEntries(Object.entries(config).map(([key, value]) => [key, String(value)]))
  const entries = parameterLayout(config).map(({ name, shape, offset, size }) => [
    name,
    { dtype: 'F32', shape, data_offsets: [offset * 4, (offset + size) * 4] },
  ])
  const json = JSON.stringify({
    __metadata__: { format: 'potluck', ...shape, ...metadata },
    ...Object.fromEntries(entries),
  })
  const text = new TextEncoder().encode(json)
  const padded = Math.ceil(text.length / 8) * 8
  const bytes = new Uint8Array(SAFETENSORS_PREFIX + padded).fill(0x20)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(padded), true)
  bytes.set(text, SAFETENSORS_PREFIX)
  return bytes
}

/** Bytes of a value. */
export const SAFETENSORS_DTYPES = { F32: 4, F16: 2, BF16: 2 } as const
export type SafetensorsDtype = keyof typeof SAFETENSORS_DTYPES

export interface StoredTensor {
  readonly entry: ParameterEntry
  readonly dtype: SafetensorsDtype
  /** First byte, counted from the beginning of the file. */
  readonly start: number
}

/** Bytes of JSON that follow the prefix. @throws PotluckError `bad-weights` */
export function safetensorsHeaderLength(prefix: Uint8Array, fileBytes: number): number {
  if (prefix.length < SAFETENSORS_PREFIX || fileBytes < SAFETENSORS_PREFIX)
    throw bad(`it ends at byte ${Math.min(prefix.length, fileBytes)}, within the length of its header`)
  const length = new DataView(prefix.buffer, prefix.byteOffset).getBigUint64(0, true)
  if (length > BigInt(MAX_SAFETENSORS_HEADER))
    throw bad(`its header claims ${length} bytes at byte 0; ${MAX_SAFETENSORS_HEADER} is the most`)
  if (SAFETENSORS_PREFIX + Number(length) > fileBytes)
    throw bad(`its header claims ${length} bytes at byte 0, and the file has ${fileBytes} in all`)
  return Number(length)
}

const count = z.number().int().nonnegative()
const tensorSchema = z.strictObject({
  dtype: z.enum(Object.keys(SAFETENSORS_DTYPES) as [SafetensorsDtype, ...SafetensorsDtype[]]), // it is not empty
  shape: z.array(count).max(8),
  data_offsets: z.tuple([count, count]),
})
const metadataSchema = z.record(z.string(), z.string())

/**
 * Every tensor of the model, in the order of the layout. `header` is the JSON alone.
 * @throws PotluckError `bad-weights` unless the file has exactly these tensors, of these shapes, one after another from
 *   the end of the header to the end of the file.
 */
export function safetensorsTensors(
  header: Uint8Array,
  fileBytes: number,
  config: ModelConfig,
): StoredTensor[] {
  const { __metadata__, ...described } = parseHeader(header)
  if (__metadata__ !== undefined && !metadataSchema.safeParse(__metadata__).success)
    throw bad('its __metadata__ is not a table of strings')
  const layout = parameterLayout(config)
  const known = new Set(layout.map(({ name }) => name))
  const unknown = Object.keys(described).find((name) => !known.has(name))
  if (unknown !== undefined) throw bad(`it has a tensor ${quoted(unknown)} that this model does not have`)
  const dataStart = SAFETENSORS_PREFIX + header.length
  const tensors = layout.map((entry) => ({ entry, ...tensorOf(entry, described) }))
  requireContiguous(tensors, fileBytes - dataStart)
  return tensors.map(({ entry, dtype, begin }) => ({ entry, dtype, start: dataStart + begin }))
}

function parseHeader(header: Uint8Array): Record<string, unknown> {
  let text: string
  let json: unknown
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(header)
    json = JSON.parse(text)
  } catch {
    throw bad('its header is not JSON in UTF-8')
  }
  if (!text.startsWith('{')) throw bad('its header does not begin with {')
  const repeated = repeatedKey(text)
  if (repeated !== null) throw bad(`its header names ${quoted(repeated)} twice`)
  return json as Record<string, unknown> // JSON that begins with { is an object
}

interface Place {
  readonly dtype: SafetensorsDtype
  /** In the data, which begins where the header ends. */
  readonly begin: number
  readonly end: number
}

function tensorOf({ name, shape, size }: ParameterEntry, described: Record<string, unknown>): Place {
  if (!Object.hasOwn(described, name)) throw bad(`the tensor ${name} is missing`)
  const parsed = tensorSchema.safeParse(described[name])
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw bad(
      `the tensor ${name} is not described as it should be: ${issue?.path.join('.')} ${issue?.message}`,
    )
  }
  const { dtype, data_offsets, shape: found } = parsed.data
  if (JSON.stringify(found) !== JSON.stringify(shape))
    throw bad(`the tensor ${name} has the shape [${found}]; this model has [${shape}], [inputs, outputs]`)
  const [begin, end] = data_offsets
  const bytes = SAFETENSORS_DTYPES[dtype] * size
  if (end - begin !== bytes)
    throw bad(
      `the tensor ${name} lies from ${begin} to ${end}; ${size} values of ${dtype} need ${bytes} bytes`,
    )
  return { dtype, begin, end }
}

function requireContiguous(tensors: readonly (Place & { entry: ParameterEntry })[], dataBytes: number): void {
  let at = 0
  for (const { entry, begin, end } of [...tensors].sort((a, b) => a.begin - b.begin)) {
    if (begin < at)
      throw bad(`the tensor ${entry.name} overlaps the one before it: it begins at ${begin}, not ${at}`)
    if (begin > at) throw bad(`nothing lies from ${at} to ${begin}, before the tensor ${entry.name}`)
    at = end
  }
  if (at > dataBytes) throw bad(`its tensors need ${at} bytes after the header, and ${dataBytes} are there`)
  if (at < dataBytes) throw bad(`${dataBytes - at} bytes follow its last tensor`)
}

const quoted = (name: string): string => JSON.stringify(name.slice(0, 100))

export const bad = (what: string): PotluckError =>
  new PotluckError('bad-weights', `This safetensors file cannot be used: ${what}.`, 422)
