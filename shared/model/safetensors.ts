/**
 * The header of a safetensors file (huggingface/safetensors: u64 length, JSON, padded to 8 bytes with spaces) for a
 * flat blob of f32 parameters: the data that follows is the blob itself. Matrices are [inputs, outputs].
 */
import type { ModelConfig } from './config.ts'
import { parameterLayout } from './layout.ts'

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
  const text = new TextEncoder().encode(json.padEnd(Math.ceil(json.length / 8) * 8)) // names are ASCII: one byte each
  const bytes = new Uint8Array(8 + text.length)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true)
  bytes.set(text, 8)
  return bytes
}
