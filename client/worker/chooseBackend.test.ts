import { expect, test } from 'vitest'
import { type Backend, EngineError } from '../../shared/engine/engine.ts'
import { predictPeakBytes } from '../../shared/engine/tfjs/peakBytes.ts'
import { PRESETS } from '../../shared/model/config.ts'
import { type Adapters, isSoftware } from './adapters.ts'
import { type ChoiceWorld, chooseBackend } from './chooseBackend.ts'

const GPU = { usable: true, text: 'Some GPU' }
const OUT = { usable: false, text: 'software adapter, runs on the CPU' }
const WASM = { usable: true, text: 'the CPU' }

interface FakeWorld extends ChoiceWorld {
  readonly measured: Backend[]
  readonly stored: Map<string, string>
}

function world(adapters: Adapters, speeds: Partial<Record<Backend, number>>): FakeWorld {
  const measured: Backend[] = []
  const stored = new Map<string, string>()
  return {
    measured,
    stored,
    findAdapters: async () => adapters,
    async measure(backend, _, fits) {
      measured.push(backend)
      const tokensPerSecond = speeds[backend]
      const largest = fits.at(-1)
      if (tokensPerSecond === undefined || !largest) throw new Error('no result within 8 seconds')
      return { ...largest, tokensPerSecond }
    },
    memory: { gib: 8 },
    userAgent: 'Browser 1',
    storage: {
      getItem: (key) => stored.get(key) ?? null,
      setItem: (key, value) => void stored.set(key, value),
    },
  }
}

const options = { batchSize: 8 }

test('the fastest of the measured backends is chosen', async () => {
  const all = { webgpu: GPU, wasm: WASM, webgl: GPU }
  const fake = world(all, { webgpu: 900, wasm: 7_000, webgl: 300 })
  const choice = await chooseBackend(PRESETS.nano, options, fake)
  expect(fake.measured).toEqual(['webgpu', 'wasm']) // the same GPU through WebGL is slower than through WebGPU
  expect(choice).toMatchObject({ backend: 'wasm', tokensPerSecond: 7_000 })
  expect(choice.measurements.map(({ backend }) => backend)).toEqual(['webgpu', 'wasm', 'webgl'])
  expect(choice.measurements[0]?.note).toBe('on Some GPU')
})

test('WebGL is measured where WebGPU is missing or fails', async () => {
  const speeds = { wasm: 100, webgl: 300 }
  for (const webgpu of [OUT, GPU]) {
    const choice = await chooseBackend(
      PRESETS.nano,
      options,
      world({ webgpu, wasm: WASM, webgl: GPU }, speeds),
    )
    expect(choice.backend).toBe('webgl')
  }
})

test('a software adapter is not measured, and the note says why', async () => {
  const fake = world({ webgpu: OUT, wasm: WASM, webgl: OUT }, { wasm: 5 })
  const choice = await chooseBackend(PRESETS.nano, options, fake)
  expect(fake.measured).toEqual(['wasm'])
  expect(choice.measurements[0]).toMatchObject({
    backend: 'webgpu',
    tokensPerSecond: null,
    note: 'software adapter, runs on the CPU, not measured',
  })
})

test('a backend that fails its measurement loses, whatever it was', async () => {
  const choice = await chooseBackend(
    PRESETS.nano,
    options,
    world({ webgpu: GPU, wasm: WASM, webgl: OUT }, { wasm: 5 }),
  )
  expect(choice.backend).toBe('wasm')
  expect(choice.measurements[0]?.note).toBe('no result within 8 seconds')
})

test('the choice says how many sequences are computed at once and what they take', async () => {
  const choice = await chooseBackend(
    PRESETS.nano,
    options,
    world({ webgpu: OUT, wasm: WASM, webgl: OUT }, { wasm: 5 }),
  )
  const shape = { backend: 'wasm', microBatch: 8, accumulates: false } as const
  expect(choice).toMatchObject({ microBatch: 8, peakBytes: predictPeakBytes(PRESETS.nano, shape) })
})

test('a model too large for the memory is not measured, and the note says what it needs', async () => {
  const fake = world({ webgpu: GPU, wasm: WASM, webgl: OUT }, { webgpu: 900, wasm: 5 })
  const attempt = chooseBackend(PRESETS['1.3b'], options, fake)
  await expect(attempt).rejects.toThrow(/webgpu: needs [23]\d\.\d GB of memory and may take 4\.3 GB here/)
  await expect(attempt).rejects.toThrow(/wasm: needs 2\d\.\d GB of memory and may take 4\.3 GB here/)
  expect(fake.measured).toEqual([])
})

test('nothing works: the error lists every reason', async () => {
  const attempt = chooseBackend(PRESETS.nano, options, world({ webgpu: OUT, wasm: WASM, webgl: OUT }, {}))
  await expect(attempt).rejects.toBeInstanceOf(EngineError)
  await expect(attempt).rejects.toThrow(/wasm: no result within 8 seconds/)
})

test('a second visit does not measure; another model, batch, browser, adapter or memory does', async () => {
  const adapters = { webgpu: OUT, wasm: WASM, webgl: OUT }
  const fake = world(adapters, { wasm: 5 })
  const first = await chooseBackend(PRESETS.nano, options, fake)
  expect(await chooseBackend(PRESETS.nano, options, fake)).toEqual(first)
  expect(fake.measured).toHaveLength(1)
  await chooseBackend(PRESETS.micro, options, fake)
  await chooseBackend(PRESETS.nano, { batchSize: 4 }, fake)
  await chooseBackend(PRESETS.nano, options, { ...fake, userAgent: 'Browser 2' })
  const other = { ...adapters, webgpu: { usable: false, text: 'no adapter' } }
  await chooseBackend(PRESETS.nano, options, { ...fake, findAdapters: async () => other })
  await chooseBackend(PRESETS.nano, options, { ...fake, memory: { gib: 4 } })
  expect(fake.measured).toHaveLength(6)
})

test.each(['not json', '{"backend":"abacus"}', 'null'])(
  'a spoilt memory (%s) is measured over',
  async (text) => {
    const fake = world({ webgpu: OUT, wasm: WASM, webgl: OUT }, { wasm: 5 })
    fake.storage?.setItem('x', 'x')
    const spoilt = { getItem: () => text, setItem: () => {} }
    expect(await chooseBackend(PRESETS.nano, options, { ...fake, storage: spoilt })).toMatchObject({
      backend: 'wasm',
    })
  },
)

test('works without storage, and without being allowed to write it', async () => {
  const fake = world({ webgpu: OUT, wasm: WASM, webgl: OUT }, { wasm: 5 })
  expect((await chooseBackend(PRESETS.nano, options, { ...fake, storage: null })).backend).toBe('wasm')
  const full = {
    getItem: () => null,
    setItem: () => {
      throw new DOMException('full', 'QuotaExceededError')
    },
  }
  expect((await chooseBackend(PRESETS.nano, options, { ...fake, storage: full })).backend).toBe('wasm')
})

test.each([
  ['google swiftshader', true],
  ['ANGLE (Google, Vulkan 1.3.0 (SwiftShader Device (Subzero)), SwiftShader driver)', true],
  ['Mesa llvmpipe (LLVM 15.0.6, 256 bits)', true],
  ['Microsoft Basic Render Driver', true],
  ['ANGLE (NVIDIA, NVIDIA GeForce RTX 3060 Direct3D11 vs_5_0 ps_5_0)', false],
  ['apple metal-3', false],
  ['Mesa Intel(R) UHD Graphics 620 (KBL GT2)', false],
])('%s is software: %s', (text, software) => {
  expect(isSoftware(text)).toBe(software)
})
