/** What the compiled engine promises besides the contract that all engines keep. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { PRESETS } from '../../model/config.ts'
import { parameterCount } from '../../model/layout.ts'
import { randomSequences, TINY, tinyParameters } from '../contract.ts'
import type { Engine, TrainJob } from '../engine.ts'
import { type OpenDevice, openDevice } from '../gpuDevice.ts'
import { installDawn, NO_DAWN } from '../tfjs/dawn.ts'
import { changing } from './changing.ts'
import { CANDIDATES, type Choices, cpuChoices, gpuChoices } from './choices.ts'
import { createCompiledEngine } from './createCompiledEngine.ts'
import { compile } from './executor.ts'
import { swiglu } from './kernels/swiglu.ts'
import { type Call, makeList, tensor } from './plan.ts'
import { selfTest, trusted } from './selfTest.ts'
import { makeState } from './state.ts'
import { trainingPlan } from './step.ts'
import { choose } from './tune.ts'
import { readTuned } from './tuned.ts'

const dawn = await installDawn()

/** As on a GPU, with tiles that a software GPU compiles in time. */
const SHARED: Choices = {
  ...gpuChoices(),
  tile: () => ({ way: 'shared', rows: 4, columns: 4, across: 2, down: 2, depth: 8 }),
  splits: () => 2,
  threadsPerRow: 4,
  attention: { rows: 1, atOnce: 2, tiled: true },
}

function job(steps: number): TrainJob {
  const sequences = randomSequences(TINY, 4 * steps, 'compiled')
  const schedule = { firstStep: 3, totalSteps: 20, peakLearningRate: 0.01 }
  return { sequences, steps, batchSize: 4, microBatch: 2, ...schedule }
}

async function afterSteps(engine: Engine, steps: number) {
  const zeros = () => new Float32Array(parameterCount(TINY))
  engine.setParameters(tinyParameters())
  engine.setOptimiserState({ firstMoment: zeros(), secondMoment: zeros(), updates: 0 })
  await engine.train(job(steps))
  return { parameters: await engine.getParameters(), state: await engine.getOptimiserState() }
}

if (dawn === null) test('the compiled engine', ({ skip }) => skip(NO_DAWN))
else {
  let open: OpenDevice
  beforeAll(async () => {
    open = await openDevice()
  })
  afterAll(() => {
    open.release()
    dawn.close()
  })

  test('the same steps give the same bits, recomputed blocks too', async () => {
    const engine = await createCompiledEngine({ config: TINY })
    const once = await afterSteps(engine, 3)
    expect(await afterSteps(engine, 3)).toEqual(once)
    engine.dispose()
    const again = await createCompiledEngine({ config: TINY, recomputes: true })
    expect(await afterSteps(again, 3)).toEqual(once)
    again.dispose()
  })

  test('dispose frees all buffers', async () => {
    const buffers = countBuffers(open.device)
    const engine = await createCompiledEngine({ config: TINY })
    await afterSteps(engine, 1)
    expect(buffers.alive()).toBeGreaterThan(0)
    engine.dispose()
    await new Promise((resolve) => setTimeout(resolve)) // plans are freed in a turn of their own
    expect(buffers.alive()).toBe(0)
    buffers.stop()
  })

  // Pipelines, bind groups and buffers are made before the first step; the meter's buffer is mapped for progress alone.
  test('a step makes nothing on the device, reads nothing back, and is submitted a few times', async () => {
    const engine = await createCompiledEngine({ config: TINY })
    await afterSteps(engine, 1)
    const calls = countCalls(open.device)
    let readings = 0
    await engine.train(job(12), { progress: () => void readings++ })
    const { createCommandEncoder = 0, submit = 0, mapAsync = 0, ...others } = calls.stop()
    engine.dispose()
    expect(others).toEqual({})
    expect(mapAsync).toBe(readings)
    expect(readings).toBeLessThan(12)
    // Each step: clearing, two micro-batches, the update; each reading a copy.
    expect(submit).toBe(4 * 12 + readings)
    expect(createCommandEncoder).toBe(submit)
  })

  test('shaders compile all at once, and progress tells of each', async () => {
    const heard: string[] = []
    const progress = ({ done, of }: { done: number; of: number }) => void heard.push(`${done}/${of}`)
    const engine = await createCompiledEngine({ config: TINY, progress })
    engine.setParameters(tinyParameters())
    await engine.train(job(1))
    const of = Number(heard[0]?.split('/')[1])
    expect(of).toBeGreaterThan(20)
    expect(heard).toEqual(Array.from({ length: of }, (_, i) => `${i + 1}/${of}`))
    engine.dispose()
  })

  test('the self-test passes with the choices for a CPU and with those for a GPU', async () => {
    await selfTest(open, cpuChoices())
    await selfTest(open, SHARED)
  })

  test('the self-test passes with subgroups, and with states rounded to f16', async ({ skip }) => {
    if (!open.features.subgroups) skip('This driver has no subgroups.')
    await selfTest(open, { ...SHARED, subgroups: true })
    await selfTest(open, { ...cpuChoices(), states: 'rounded' })
  })

  test('a feature that computes wrongly is left unused, and the device is used without it', async () => {
    const wanted: Choices = { ...cpuChoices(), threadsPerRow: 4, subgroups: true, states: 'rounded' }
    const alright = changing(open, {})
    expect(await trusted(alright, wanted)).toMatchObject({ subgroups: true, states: 'rounded' })
    const subgroups = changing(open, { 'return all;': 'return 1.01 * all;' })
    expect(await trusted(subgroups, wanted)).toMatchObject({ subgroups: false, states: 'rounded' })
    const halves = changing(open, { 'quantizeToF16(': '1.1 * quantizeToF16(' })
    expect(await trusted(halves, wanted)).toMatchObject({ subgroups: true, states: 'f32' })
  })

  test('f16 is refused in words where there is none', async ({ skip }) => {
    if (open.features.f16) skip('This driver has f16.')
    const refused = { code: 'engine/backend-missing', message: expect.stringContaining('Ask for f32') }
    await expect(createCompiledEngine({ config: TINY, precision: 'f16' })).rejects.toMatchObject(refused)
  })

  // What a driver with a wrong exp, or with a lost barrier, would do.
  test('a device that computes something else is refused, with what it computes wrongly', async () => {
    const faulty = changing(open, { 'let s = 1.0 / (1.0 + exp(': 'let s = 1.001 / (1.0 + exp(' })
    const refused = {
      code: 'engine/backend-missing',
      message: expect.stringMatching(/computes the gradient of model\..* wrongly/),
    }
    await expect(selfTest(faulty, cpuChoices())).rejects.toMatchObject(refused)
  })

  test('the tile of large products is the fastest whose numbers are right; small models measure none', async () => {
    const large = { order: 'NN', m: 512, n: 1_024, k: 64, result: 'set' } as const
    const best = (await choose(open, PRESETS.nano)).choices.tile(large)
    expect(CANDIDATES.software).toContainEqual(best)
    expect((await choose(open, PRESETS.nano)).choices.tile(large)).toBe(best)
    // Of the candidates, only that of 16 × 16 has a fourth vector in its rows.
    const faulty = changing(open, { 'c0_3 = fma': 'c0_3 = 1.0 + fma' })
    expect((await choose(faulty, PRESETS.nano)).choices.tile(large)).toMatchObject({ columns: 8 })
    const buffers = countBuffers(open.device)
    await choose(open, TINY)
    expect(buffers.made()).toBe(0)
    buffers.stop()
  })

  // Another object for the same device: nothing is known of it yet.
  const visit = () => changing(open, {})

  test('a measurement is told, and saves the next visit its own; what is damaged or foreign does not', async () => {
    const heard: string[] = []
    const onTuned = (text: string) => void heard.push(text)
    const first = await choose(visit(), PRESETS.nano, { onTuned })
    const tuned = heard[0] ?? ''
    expect(heard).toHaveLength(1)
    const buffers = countBuffers(open.device)
    const second = await choose(visit(), PRESETS.nano, { tuned, onTuned })
    expect(buffers.made()).toBe(0)
    expect(second.speed).toEqual(first.speed)
    expect(heard).toHaveLength(1)
    buffers.stop()
    const written = JSON.parse(tuned)
    const tile = { ...written.tile, rows: 64 }
    const bad = [
      'no JSON',
      tuned.slice(0, -1),
      JSON.stringify({ ...written, version: 0 }),
      JSON.stringify({ ...written, device: 'another' }),
      JSON.stringify({ ...written, tile }),
      JSON.stringify({ ...written, speed: { flops: -1, bandwidth: 1 } }),
      JSON.stringify({ ...written, more: 1 }),
      tuned.padEnd(10_000),
    ]
    expect(readTuned(tuned, open)).toEqual({ tile: written.tile, speed: written.speed })
    for (const text of bad) expect(readTuned(text, open), text.slice(0, 200)).toBeNull()
    await choose(visit(), PRESETS.nano, { tuned: 'no JSON', onTuned })
    expect(heard).toHaveLength(2)
  })

  test('dispatches split to the last workgroup give the same bits', async () => {
    const whole = await createCompiledEngine({ config: TINY })
    const wanted = await afterSteps(whole, 2)
    whole.dispose()
    const dispatched = countDispatches()
    const split = await createCompiledEngine({ config: TINY, longestSeconds: 1e-9 })
    const before = dispatched()
    expect(await afterSteps(split, 2)).toEqual(wanted)
    const plan = trainingPlan({ state: makeState(TINY), sequences: 2, choices: cpuChoices() })
    const groups = (calls: readonly Call[]) =>
      calls.reduce((sum, { kernel }) => sum + kernel.groups.reduce((a, b) => a * b), 0)
    // Two steps of two passes and an update.
    expect(dispatched() - before).toBe(2 * (2 * groups(plan.pass) + groups(plan.update)))
    split.dispose()
  })

  test('work that no binding holds is refused before it is compiled', async () => {
    const list = makeList()
    const size = open.device.limits.maxStorageBufferBindingSize / 4 + 4
    list.run('double', swiglu(4, 4), tensor('too large', size), tensor('out', 4))
    const plan = { cleared: [], pass: list.calls, update: [] }
    await expect(compile(open, plan, new Map())).rejects.toMatchObject({ code: 'engine/bad-job' })
  })

  test('a lost device ends the engine, its job, and all later calls; the next engine has a new one', async () => {
    const engine = await createCompiledEngine({ config: TINY })
    engine.setParameters(tinyParameters())
    const lost = { code: 'engine/device-lost' }
    const long = expect(engine.train(job(500))).rejects.toMatchObject(lost)
    open.device.destroy()
    expect(await engine.ended).toMatchObject(lost)
    await long
    await expect(engine.getParameters()).rejects.toMatchObject(lost)
    await expect(engine.evaluate(new Uint16Array(8))).rejects.toMatchObject(lost)
    engine.dispose()
    open.release()
    open = await openDevice()
    const next = await createCompiledEngine({ config: TINY })
    next.setParameters(tinyParameters())
    expect(await next.getParameters()).toEqual(tinyParameters())
    next.dispose()
  })
}

/** Calls that make something on the device, submit work or map a buffer, by name, until `stop`. */
function countCalls(device: GPUDevice) {
  const counts: Record<string, number> = {}
  const undo: (() => void)[] = []
  const count = (host: object, name: string) => {
    const own = Object.getOwnPropertyDescriptor(host, name)
    const call: unknown = Reflect.get(host, name)
    if (typeof call !== 'function') throw new Error(`internal: no method ${name}`)
    Object.defineProperty(host, name, {
      configurable: true,
      value(this: unknown, ...given: unknown[]) {
        counts[name] = (counts[name] ?? 0) + 1
        return Reflect.apply(call, this, given)
      },
    })
    undo.push(() => {
      if (own) Object.defineProperty(host, name, own)
      else Reflect.deleteProperty(host, name)
    })
  }
  for (const name in device) if (name.startsWith('create')) count(device, name)
  count(device.queue, 'submit')
  count(GPUBuffer.prototype, 'mapAsync')
  return {
    stop() {
      for (const each of undo) each()
      return counts
    },
  }
}

function countDispatches(): () => number {
  const { prototype } = GPUComputePassEncoder
  const { dispatchWorkgroups } = prototype
  let count = 0
  prototype.dispatchWorkgroups = function (...size) {
    count++
    return dispatchWorkgroups.apply(this, size)
  }
  return () => count
}

function countBuffers(device: GPUDevice) {
  const { createBuffer } = device
  let made = 0
  const alive = new Set<GPUBuffer>()
  device.createBuffer = (descriptor) => {
    const buffer = createBuffer.call(device, descriptor)
    const { destroy } = buffer
    made++
    alive.add(buffer)
    buffer.destroy = () => {
      alive.delete(buffer)
      return destroy.call(buffer)
    }
    return buffer
  }
  return {
    made: () => made,
    alive: () => alive.size,
    stop: () => {
      device.createBuffer = createBuffer
    },
  }
}
