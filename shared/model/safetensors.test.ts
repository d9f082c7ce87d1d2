import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PotluckError } from '../protocol/errors.ts'
import { PRESETS } from './config.ts'
import { parameterCount, parameterLayout } from './layout.ts'
import { repeatedKey } from './repeatedKey.ts'
import {
  MAX_SAFETENSORS_HEADER,
  safetensorsHeader,
  safetensorsHeaderLength,
  safetensorsTensors,
} from './safetensors.ts'

const MODEL = PRESETS.nano
const DATA = 4 * parameterCount(MODEL)
const NORM = 'model.norm.weight'
const GATE = 'model.layers.0.mlp.gate_proj.weight'

type Described = Record<
  string,
  { dtype: string; shape: unknown; data_offsets: unknown } & Record<string, unknown>
>

const written = (): Described => {
  const bytes = safetensorsHeader(MODEL, { round: '3' })
  return JSON.parse(new TextDecoder().decode(bytes.subarray(8)))
}
const bytesOf = (json: string) => new TextEncoder().encode(json)
function read(header: unknown, dataBytes = DATA) {
  const bytes = bytesOf(typeof header === 'string' ? header : JSON.stringify(header))
  return safetensorsTensors(bytes, 8 + bytes.length + dataBytes, MODEL)
}
/** What the reader says of our own header, changed. */
function fault(change: (header: Described) => unknown, dataBytes = DATA): string {
  try {
    read(change(written()), dataBytes)
  } catch (error) {
    expect(error).toMatchObject({ code: 'bad-weights' })
    return (error as Error).message
  }
  return 'none'
}
const change = (header: Described, name: string, by: object) => ({
  ...header,
  [name]: { ...header[name], ...by },
})

describe('a header of safetensors', () => {
  it('that we wrote is read as the layout', () => {
    const bytes = safetensorsHeader(MODEL, { name: 'Søren’s soup' })
    const length = safetensorsHeaderLength(bytes.subarray(0, 8), bytes.length + DATA)
    expect(8 + length).toBe(bytes.length)
    expect(bytes.length % 8).toBe(0)
    const tensors = safetensorsTensors(bytes.subarray(8), bytes.length + DATA, MODEL)
    expect(tensors).toEqual(
      parameterLayout(MODEL).map((entry) => ({
        entry,
        dtype: 'F32',
        start: bytes.length + 4 * entry.offset,
      })),
    )
  })

  it('may have its tensors in any order, and half as wide', () => {
    let at = 0
    const entries = parameterLayout(MODEL)
      .reverse()
      .map(({ name, shape, size }) => {
        const bytes = 2 * size
        at += bytes
        return [name, { dtype: 'BF16', shape, data_offsets: [at - bytes, at] }]
      })
    const json = bytesOf(JSON.stringify(Object.fromEntries(entries)))
    const [embedding] = safetensorsTensors(json, 8 + json.length + DATA / 2, MODEL)
    expect(embedding).toMatchObject({ dtype: 'BF16', start: 8 + json.length + DATA / 2 - 2 * 65_536 })
  })

  it.each<[string, (header: Described) => unknown, string]>([
    ['a missing tensor', ({ [NORM]: _, ...h }) => h, `${NORM} is missing`],
    ['a tensor of another model', (h) => ({ ...h, 'lm_head.weight': h[NORM] }), '"lm_head.weight"'],
    ['a tensor that inherits its name', (h) => ({ ...h, toString: h[NORM] }), '"toString"'],
    [
      'a matrix turned over',
      (h) => change(h, GATE, { shape: [192, 64] }),
      `${GATE} has the shape [192,64]; this model has [64,192]`,
    ],
    ['no shape', (h) => change(h, NORM, { shape: 64 }), `${NORM} is not described`],
    [
      'whole numbers',
      (h) => change(h, NORM, { dtype: 'I32' }),
      `${NORM} is not described as it should be: dtype`,
    ],
    ['something more', (h) => change(h, NORM, { scale: 2 }), `${NORM} is not described`],
    [
      'too few bytes',
      (h) => change(h, NORM, { dtype: 'F16' }),
      `${NORM} lies from 689664 to 689920; 64 values of F16 need 128`,
    ],
    [
      'offsets that are no numbers',
      (h) => change(h, NORM, { data_offsets: ['0', '256'] }),
      `${NORM} is not described`,
    ],
    [
      'offsets beyond what is exact',
      (h) => change(h, NORM, { data_offsets: [2 ** 60, 2 ** 60 + 256] }),
      NORM,
    ],
    ['an overlap', (h) => change(h, NORM, { data_offsets: [0, 256] }), 'overlaps'],
    [
      'a gap',
      (h) => change(h, NORM, { data_offsets: [DATA, DATA + 256] }),
      'nothing lies from 689664 to 689920',
    ],
    ['metadata that are no strings', (h) => ({ ...h, __metadata__: { round: 3 } }), '__metadata__'],
    ['a list', () => [], 'does not begin with {'],
    ['nothing', () => ' ', 'not JSON'],
    ['a byte order mark', (h) => `\uFEFF${JSON.stringify(h)}`, 'not JSON'],
    ['space before it', (h) => ` ${JSON.stringify(h)}`, 'does not begin with {'],
    [
      'a name twice',
      (h) => JSON.stringify(h).replace('{', `{"\\u006dodel.norm.weight" :1,`),
      `"${NORM}" twice`,
    ],
  ])('with %s is refused, and says so', (_name, change, says) => {
    expect(fault(change)).toContain(says)
  })

  it('must end where the file does', () => {
    expect(fault((h) => h, DATA - 1)).toContain(
      `need ${DATA} bytes after the header, and ${DATA - 1} are there`,
    )
    expect(fault((h) => h, DATA + 1)).toContain('1 bytes follow its last tensor')
  })

  it('is no longer than it may be, nor than the file', () => {
    const prefix = (length: bigint) => {
      const bytes = new Uint8Array(8)
      new DataView(bytes.buffer).setBigUint64(0, length, true)
      return bytes
    }
    const says = (length: bigint, fileBytes: number) => () =>
      safetensorsHeaderLength(prefix(length), fileBytes)
    expect(says(2n ** 64n - 1n, 1e9)).toThrow('18446744073709551615 bytes at byte 0')
    expect(says(BigInt(MAX_SAFETENSORS_HEADER) + 1n, 1e9)).toThrow('is the most')
    expect(says(100n, 107)).toThrow('the file has 107 in all')
    expect(says(100n, 108)()).toBe(100)
    expect(() => safetensorsHeaderLength(new Uint8Array(3), 3)).toThrow('ends at byte 3')
  })

  it('of any damage is read as the model or refused with bad-weights, and nothing else', () => {
    const whole = safetensorsHeader(MODEL, {}).subarray(8)
    const damage = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 })
    fc.assert(
      fc.property(damage, fc.nat(whole.length), (changes, cut) => {
        const bytes = whole.slice(0, cut % 3 === 0 ? cut : whole.length)
        for (const [at, value] of changes) bytes[at % Math.max(1, bytes.length)] = value
        try {
          const tensors = safetensorsTensors(bytes, 8 + bytes.length + DATA, MODEL)
          expect(tensors.reduce((sum, { entry }) => sum + entry.size, 0)).toBe(parameterCount(MODEL))
        } catch (error) {
          if (!(error instanceof PotluckError)) throw error
          expect(error.code).toBe('bad-weights')
        }
      }),
      { numRuns: 500 },
    )
  })
})

describe('a repeated key', () => {
  it('is found whatever its depth and spelling, and values are no keys', () => {
    expect(repeatedKey('{"a":1,"b":{"a":2},"c":[{"a":1},{"a":1}]}')).toBeNull()
    expect(repeatedKey('{"a":"b","b":"a","c":["a","a"]}')).toBeNull()
    expect(repeatedKey('{"a":1,"b":{"x":1,"x" \n :2}}')).toBe('x')
    expect(repeatedKey('{"a\\"{":1,"\\u0061\\"{":2}')).toBe('a"{')
  })
})
