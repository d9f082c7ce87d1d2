import { describe, expect, it } from 'vitest'
import { PRESET_NAMES, PRESETS } from './config.ts'
import { initialParameters } from './initial.ts'
import { fragments, parameterCount, parameterLayout } from './layout.ts'
import { safetensorsHeader } from './safetensors.ts'

describe('the layout', () => {
  it('counts nano as the prototype did: 172,480 parameters', () => {
    expect(parameterCount(PRESETS.nano)).toBe(172_480)
  })

  it('stays within 2 % of the paper’s 12·L·d² + V·d from 35m on', () => {
    for (const name of PRESET_NAMES.slice(3)) {
      const { layers, dModel, vocabSize } = PRESETS[name]
      const paper = 12 * layers * dModel ** 2 + vocabSize * dModel
      expect(Math.abs(parameterCount(PRESETS[name]) / paper - 1)).toBeLessThan(0.02)
    }
  })

  it('has no gaps and no overlaps', () => {
    let end = 0
    for (const entry of parameterLayout(PRESETS.micro)) {
      expect(entry.offset).toBe(end)
      end += entry.size
    }
    expect(end).toBe(parameterCount(PRESETS.micro))
  })
})

describe('fragments', () => {
  it('are strided by layers; micro in three, worked by hand', () => {
    // 4,096·128 of embedding, then four layers of 4·128² + 2·128 + 2·32 + 3·128·384 = 213,312, then 128.
    expect(fragments(PRESETS.micro, 3)).toEqual([
      [
        { offset: 0, size: 524_288 + 213_312 },
        { offset: 524_288 + 3 * 213_312, size: 213_312 + 128 },
      ],
      [{ offset: 524_288 + 213_312, size: 213_312 }],
      [{ offset: 524_288 + 2 * 213_312, size: 213_312 }],
    ])
  })

  it('are the whole when there is one, and some are empty when there are more than layers', () => {
    expect(fragments(PRESETS.nano, 1)).toEqual([[{ offset: 0, size: 172_480 }]])
    expect(fragments(PRESETS.nano, 3)[2]).toEqual([])
  })
})

describe('initial parameters', () => {
  it('are 1 for gains, deviate 0.02 for matrices and 0.02/√(2L) for residual outputs', () => {
    const values = initialParameters(PRESETS.micro, 'seed')
    for (const { name, offset, size } of parameterLayout(PRESETS.micro)) {
      const part = values.subarray(offset, offset + size)
      if (name.endsWith('norm.weight')) expect(part.every((v) => v === 1)).toBe(true)
      else {
        const deviation = Math.sqrt(part.reduce((sum, v) => sum + v * v, 0) / size)
        const wanted = /o_proj|down_proj/.test(name) ? 0.02 / Math.sqrt(8) : 0.02
        expect(Math.abs(deviation / wanted - 1)).toBeLessThan(0.03)
      }
    }
  })
})

describe('the safetensors header', () => {
  it('is a length, JSON and padding to 8 bytes, with offsets that tile the data', () => {
    const bytes = safetensorsHeader(PRESETS.nano, { round: '3' })
    const length = Number(new DataView(bytes.buffer).getBigUint64(0, true))
    expect(length % 8).toBe(0)
    expect(bytes.length).toBe(8 + length)
    const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8)))
    expect(header.__metadata__).toMatchObject({ round: '3', layers: '2' })
    expect(header['model.embed_tokens.weight']).toEqual({
      dtype: 'F32',
      shape: [1024, 64],
      data_offsets: [0, 262_144],
    })
    expect(header['model.norm.weight'].data_offsets).toEqual([172_416 * 4, 172_480 * 4])
  })
})
