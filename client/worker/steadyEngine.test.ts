import { describe, expect, test, vi } from 'vitest'
import { bytesToFloats, floatsToBytes } from '../../shared/codec/floats.ts'
import { TINY } from '../../shared/engine/contract.ts'
import {
  type Backend,
  EngineError,
  type OptimiserState,
  type TrainJob,
  type TrainProgress,
} from '../../shared/engine/engine.ts'
import { parameterCount } from '../../shared/model/layout.ts'
import type { RemoteEngine, startEngine } from './engineClient.ts'
import { type SteadyEvent, startSteadyEngine } from './steadyEngine.ts'

const PER_STEP = 2 * (TINY.sequenceLength + 1) // ids in a step of two sequences
const JOB: TrainJob = {
  sequences: Uint16Array.from({ length: 6 * PER_STEP }, (_, i) => Math.floor(i / PER_STEP)), // its step's number
  steps: 6,
  batchSize: 2,
  firstStep: 100,
  totalSteps: 200,
  peakLearningRate: 0.01,
}
const REQUEST = { codec: 'f32', fragment: [{ offset: 0, size: 1 }], decay: 1 } as const
const sentBy = (bytes: Uint8Array) => bytesToFloats(bytes)[0]
const lossOf = (step: number) => new EngineError('engine/device-lost', `lost at step ${step}`)

/** The batch is of two; what does not divide it is not asked for. */
const MICRO_BATCHES: Record<Backend, number> = { webgpu: 2, wasm: 1, webgl: 3 }

/** Whether an engine dies, and where: before a step of the whole job, or when it is asked something. */
type Fate =
  | { atStep: number }
  | { at: 'start' | 'contribution' | 'carryOver' | 'getParameters' | 'evaluate' }
  | 'lives'

/**
 * Engines in the page whose parameters are one number: each step adds (global step × the step's first id + updates so
 * far), so that a wrong slice, schedule or moment shows. A snapshot after every second step.
 */
function world(...fates: Fate[]) {
  const calls: string[] = []
  const waits: number[] = []
  const engines: { die(reason: EngineError): void; job: TrainJob | null }[] = []

  const start: typeof startEngine = async (backend, config) => {
    const fate = fates.shift() ?? 'lives'
    calls.push(`start ${backend}`)
    if (fate !== 'lives' && 'at' in fate && fate.at === 'start')
      throw new EngineError('engine/backend-missing', `${backend} does not start`)
    let [parameters, base, residual] = [new Float32Array(1), new Float32Array(), new Float32Array(1)]
    let state: OptimiserState = {
      firstMoment: new Float32Array(1),
      secondMoment: new Float32Array(1),
      updates: 0,
    }
    let [paused, stopped, wake] = [false, false, () => {}]
    let die = (_: EngineError) => {}
    const ended = new Promise<EngineError>((resolve) => {
      die = resolve
    })
    const rejection = ended.then((reason) => Promise.reject(reason))
    rejection.catch(() => {})
    const answer = <T>(name: string, value: () => T): Promise<T> => {
      calls.push(name)
      if (fate !== 'lives' && 'at' in fate && fate.at === name.split(' ')[0]) {
        die(lossOf(-1))
        return rejection
      }
      return Promise.race([rejection, Promise.resolve().then(value)])
    }
    const meanOf = (job: TrainJob, steps: number) => (steps === 0 ? 0 : job.firstStep + (steps - 1) / 2)
    const soFar = (job: TrainJob, steps: number) => ({
      steps,
      tokens: steps * 14,
      meanLoss: meanOf(job, steps),
      seconds: steps,
    })
    const steps = async (job: TrainJob, listener: Parameters<RemoteEngine['train']>[1]) => {
      for (let step = 0; step < job.steps; step++) {
        await new Promise((resolve) => setTimeout(resolve))
        while (paused && !stopped)
          await new Promise<void>((resolve) => {
            wake = resolve
          })
        if (stopped) return soFar(job, step)
        const global = job.firstStep + step
        if (fate !== 'lives' && 'atStep' in fate && global === JOB.firstStep + fate.atStep) {
          die(lossOf(fate.atStep))
          return rejection
        }
        const moved = global * (job.sequences[step * PER_STEP] ?? Number.NaN) + state.updates
        parameters = parameters.map((value) => value + moved)
        state = { ...state, firstMoment: state.firstMoment.map((m) => m + 1), updates: state.updates + 1 }
        listener?.progress?.({ step: step + 1, steps: job.steps, loss: global, tokensPerSecond: 14 })
        if (step % 2 === 1 && step + 1 < job.steps)
          listener?.snapshot?.({
            soFar: soFar(job, step + 1),
            parameters: parameters.slice(),
            optimiser: state,
          })
      }
      return soFar(job, job.steps)
    }
    const door = { die, job: null as TrainJob | null }
    engines.push(door)
    return {
      backend,
      config,
      ended,
      setParameters: (values, fragment) =>
        answer(`setParameters ${values.length === 1 ? values[0] : values.length}`, () => {
          if (fragment !== undefined) return
          parameters = Float32Array.from(values)
          base = parameters
        }),
      setBase: (values) =>
        answer(`setBase ${values.length === 1 ? values[0] : values.length}`, () => {
          base = Float32Array.from(values)
        }),
      getParameters: () => answer('getParameters', () => parameters),
      setOptimiserState: (value) =>
        answer(`setOptimiserState ${value.updates}`, () => {
          state = value
        }),
      getOptimiserState: () => answer('getOptimiserState', () => state),
      train: (job, listener) => {
        calls.push(`train ${job.steps} from ${job.firstStep}`)
        door.job = job
        stopped = false
        return Promise.race([rejection, steps(job, listener)])
      },
      setResidual: (values) =>
        answer(`setResidual ${values[0]}`, () => {
          residual = values.slice()
        }),
      getResidual: () => answer('getResidual', () => residual.slice()),
      // What a codec would that carries whole hundreds.
      contribution: () =>
        answer('contribution', () => {
          const wanted = (base[0] ?? 0) - (parameters[0] ?? 0) + (residual[0] ?? 0)
          const sent = 100 * Math.trunc(wanted / 100)
          residual = Float32Array.of(wanted - sent)
          return floatsToBytes(Float32Array.of(sent))
        }),
      carryOver: (values, _fragment, mark) =>
        answer('carryOver', () => {
          base = values.slice()
          parameters = Float32Array.of((values[0] ?? 0) + (parameters[0] ?? 0) - (mark[0] ?? 0))
          return parameters.slice()
        }),
      pause: () =>
        answer('pause', () => {
          paused = true
        }),
      resume: () =>
        answer('resume', () => {
          paused = false
          wake()
        }),
      stop: () =>
        answer('stop', () => {
          stopped = true
          wake()
        }),
      tokenLosses: () => answer('tokenLosses', () => parameters.slice()),
      evaluate: () => answer('evaluate', () => ({ nats: parameters[0] ?? 0, tokens: 1 })),
      evaluateAt: ([value = 0]) => answer('evaluateAt', () => ({ nats: value, tokens: 1 })),
      generate: () => answer('generate', () => []),
      dispose: () => die(lossOf(-2)),
      terminate: () => die(lossOf(-2)),
    } satisfies RemoteEngine
  }
  const events: SteadyEvent[] = []
  const open = (candidates: Backend[] = ['webgpu', 'wasm'], signal?: AbortSignal) =>
    startSteadyEngine({
      candidates: candidates.map((backend) => ({ backend, microBatch: MICRO_BATCHES[backend] })),
      config: TINY,
      start,
      onEvent: (event) => void events.push(event),
      async wait(milliseconds, aborted) {
        waits.push(milliseconds)
        await new Promise((resolve) => setTimeout(resolve))
        aborted.throwIfAborted()
      },
      ...(signal !== undefined && { signal }),
    })
  const ready = async (candidates?: Backend[]) => {
    const engine = await open(candidates)
    await engine.setParameters(Float32Array.of(7))
    return engine
  }
  return { calls, waits, events, engines, open, ready }
}

/** Worked by hand: Σ over steps i = 0…5 of (100 + i) × i + i, and 7 to begin with. */
const AFTER_JOB = 7 + 0 + 102 + 206 + 312 + 420 + 530
const DONE = { steps: 6, tokens: 84, meanLoss: 102.5, seconds: 6 }

const turns = async (count: number) => {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setTimeout(resolve))
}

describe('a loss in mid-job', () => {
  test('S1, S2: is survived from the last snapshot on, with base, parameters and moments in the new Worker', async () => {
    const { ready, calls, events, engines } = world({ atStep: 5 })
    const engine = await ready()
    const progress: TrainProgress[] = []
    const result = await engine.train(JOB, { progress: (p) => void progress.push(p) })
    expect(result).toEqual(DONE)
    expect(await engine.getParameters()).toEqual(Float32Array.of(AFTER_JOB))
    expect(await engine.getOptimiserState()).toMatchObject({
      updates: 6,
      firstMoment: Float32Array.of(6),
    })
    expect(calls).toEqual([
      'start webgpu',
      'setParameters 7',
      'train 6 from 100',
      'start webgpu',
      `setParameters ${7 + 0 + 102 + 206 + 312}`,
      'setBase 7',
      'setOptimiserState 4',
      'train 2 from 104',
      'getParameters',
      'getOptimiserState',
      'getParameters',
      'getOptimiserState',
    ])
    expect(engines[1]?.job?.sequences).toEqual(JOB.sequences.subarray(4 * PER_STEP))
    expect(events).toEqual([
      { kind: 'lost', backend: 'webgpu', reason: 'lost at step 5', attempt: 1 },
      { kind: 'restarted', backend: 'webgpu', step: 4 },
    ])
    expect(progress.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 5, 6])
    expect(progress.every(({ steps }) => steps === 6)).toBe(true)
  })

  test('S2: before the first snapshot starts the job again, from the parameters as they were set', async () => {
    const { ready, calls } = world({ atStep: 1 })
    const engine = await ready()
    await engine.setOptimiserState({
      firstMoment: new Float32Array(1),
      secondMoment: new Float32Array(1),
      updates: 0,
    })
    expect(await engine.train(JOB)).toEqual(DONE)
    expect(calls.slice(4, 8)).toEqual(['start webgpu', 'setParameters 7', 'setBase 7', 'setOptimiserState 0'])
    expect(await engine.getParameters()).toEqual(Float32Array.of(AFTER_JOB))
  })

  test('S4, S6: twice falls back to the next backend, which goes on from the second snapshot', async () => {
    const { ready, events, calls, waits, engines } = world({ atStep: 2 }, { atStep: 5 })
    const engine = await ready()
    expect(await engine.train(JOB)).toEqual(DONE)
    expect(await engine.getParameters()).toEqual(Float32Array.of(AFTER_JOB))
    expect(engine.backend).toBe('wasm')
    expect(events).toEqual([
      { kind: 'lost', backend: 'webgpu', reason: 'lost at step 2', attempt: 1 },
      { kind: 'restarted', backend: 'webgpu', step: 2 },
      { kind: 'lost', backend: 'webgpu', reason: 'lost at step 5', attempt: 2 },
      { kind: 'fell-back', from: 'webgpu', to: 'wasm', reason: 'lost at step 5' },
      { kind: 'restarted', backend: 'wasm', step: 4 },
    ])
    expect(calls.filter((call) => call.startsWith('train'))).toEqual([
      'train 6 from 100',
      'train 4 from 102',
      'train 2 from 104',
    ])
    expect(engines.map(({ job }) => job?.microBatch)).toEqual([2, 2, 1])
    expect(waits).toHaveLength(2)
    expect(waits[1]).toBeGreaterThan(waits[0] ?? Number.NaN) // at least 750 ms after at most 500
  })

  test('S2: while the end of the job is read repeats what came after the last snapshot', async () => {
    const { ready, calls } = world({ at: 'getParameters' })
    const engine = await ready()
    expect(await engine.train(JOB)).toEqual(DONE)
    expect(calls).toContain('train 2 from 104')
    expect(await engine.getParameters()).toEqual(Float32Array.of(AFTER_JOB))
  })

  test('S2: hands the caller snapshots that count from the beginning', async () => {
    const { ready } = world({ atStep: 3 })
    const engine = await ready()
    const seen: number[] = []
    await engine.train(JOB, { snapshot: ({ soFar }) => void seen.push(soFar.steps) })
    expect(seen).toEqual([2, 4])
  })
})

test('S4: a completed job starts the count again', async () => {
  const { ready, events } = world({ atStep: 5 }, { at: 'evaluate' }, { at: 'evaluate' })
  const engine = await ready()
  await engine.train(JOB)
  await engine.evaluate(new Uint16Array())
  expect(engine.backend).toBe('wasm')
  expect(events.filter(({ kind }) => kind === 'lost')).toMatchObject([
    { attempt: 1, backend: 'webgpu' },
    { attempt: 1, backend: 'webgpu' },
    { attempt: 2, backend: 'webgpu' },
  ])
})

test('S9: new global weights that the engine dies over are carried over once by the next', async () => {
  const { ready } = world({ at: 'carryOver' })
  const engine = await ready()
  const short = { ...JOB, steps: 2, sequences: JOB.sequences.subarray(0, 2 * PER_STEP) }
  await engine.train(short)
  await engine.contribution(REQUEST) // at 7 + 102
  await engine.train({ ...short, firstStep: 102 })
  const local = (await engine.getParameters())[0] ?? 0
  expect(await engine.carryOver(Float32Array.of(50), [{ offset: 0, size: 1 }])).toEqual(
    Float32Array.of(50 + local - 109),
  )
  expect(sentBy(await engine.contribution(REQUEST))).toBe(100 * Math.trunc((109 - local - 2) / 100))
})

test('S3: a contribution asked for after the job is answered by the next Worker', async () => {
  const { ready, calls } = world({ at: 'contribution' })
  const engine = await ready()
  const short = { ...JOB, steps: 2, sequences: JOB.sequences.subarray(0, 2 * PER_STEP) }
  await engine.train(short)
  calls.length = 0
  expect(sentBy(await engine.contribution(REQUEST))).toBe(-100) // of 7 − (7 + 102)
  expect(calls).toEqual([
    'contribution',
    'start webgpu',
    `setParameters ${7 + 102}`,
    'setBase 7',
    'setOptimiserState 2',
    'contribution',
  ])
})

test('S3: the residual that nobody has read yet is made again from the contribution', async () => {
  const { ready, engines, events, calls } = world()
  const engine = await ready()
  await engine.train({ ...JOB, steps: 2, sequences: JOB.sequences.subarray(0, 2 * PER_STEP) })
  await engine.contribution(REQUEST) // carries −100 of −102
  engines[0]?.die(lossOf(0))
  await vi.waitUntil(() => events.length === 2)
  expect(calls).toContain('setResidual -2')
  expect((await engine.getResidual())[0]).toBe(-2)
})

test('S1: a loss while idle is made good without being asked', async () => {
  const { ready, engines, events, calls } = world()
  await ready()
  engines[0]?.die(lossOf(0))
  await turns(4)
  expect(calls).toEqual(['start webgpu', 'setParameters 7', 'start webgpu', 'setParameters 7', 'setBase 7'])
  expect(events.at(-1)).toEqual({ kind: 'restarted', backend: 'webgpu', step: null })
})

describe('a button pressed while it restarts', () => {
  const duringRestart = async () => {
    const all = world({ atStep: 3 })
    const engine = await all.ready()
    const job = engine.train(JOB)
    while (all.events.length === 0) await turns(1)
    expect(all.events.map(({ kind }) => kind)).toEqual(['lost'])
    return { ...all, engine, job }
  }

  test('S7: pause holds for the new Worker until resume', async () => {
    const { engine, job, calls } = await duringRestart()
    await engine.pause()
    await turns(20)
    expect(calls.slice(3)).toEqual([
      'start webgpu',
      `setParameters ${7 + 102}`,
      'setBase 7',
      'setOptimiserState 2',
      'pause',
      'train 4 from 102',
    ])
    expect(await Promise.race([job, turns(3).then(() => 'held')])).toBe('held')
    await engine.resume()
    expect(await job).toEqual(DONE)
  })

  test('S7: pause and resume cancel out', async () => {
    const { engine, job, calls } = await duringRestart()
    await engine.pause()
    await engine.resume()
    expect(await job).toEqual(DONE)
    expect(calls).not.toContain('pause')
  })

  test('S7: stop ends the job with what the snapshot holds', async () => {
    const { engine, job, calls } = await duringRestart()
    await engine.stop()
    expect(await job).toEqual({ steps: 2, tokens: 28, meanLoss: 100.5, seconds: 2 })
    expect(await engine.getParameters()).toEqual(Float32Array.of(7 + 102))
    expect(calls.filter((call) => call.startsWith('train'))).toHaveLength(1)
    expect((await engine.train(JOB)).steps).toBe(6) // the stop was the other job's
  })

  test('S6: terminate ends the wait and every call', async () => {
    const { engine, job, calls } = await duringRestart()
    engine.terminate()
    await expect(job).rejects.toMatchObject({ code: 'engine/device-lost' })
    await expect(engine.evaluate(new Uint16Array())).rejects.toThrow('told to end')
    expect((await engine.ended).message).toContain('told to end')
    expect(calls.filter((call) => call.startsWith('start'))).toHaveLength(1)
  })
})

describe('no way on', () => {
  test('S5: after the last candidate’s second loss every call rejects with its reason, and ended tells it', async () => {
    const { ready, events } = world({ atStep: 1 }, { atStep: 2 }, { atStep: 3 }, { atStep: 4 })
    const engine = await ready()
    await expect(engine.train(JOB)).rejects.toMatchObject({
      code: 'engine/device-lost',
      message: 'lost at step 4',
    })
    expect((await engine.ended).message).toBe('lost at step 4')
    await expect(engine.contribution(REQUEST)).rejects.toThrow('lost at step 4')
    expect(events.filter(({ kind }) => kind === 'fell-back')).toHaveLength(1)
  })

  test('S4: a backend that does not start again counts as lost again', async () => {
    const { ready, events } = world({ atStep: 1 }, { at: 'start' })
    const engine = await ready()
    expect(await engine.train(JOB)).toEqual(DONE)
    expect(events.map(({ kind }) => kind)).toEqual(['lost', 'lost', 'fell-back', 'restarted'])
    expect(engine.backend).toBe('wasm')
  })

  test('S5: a first start that fails on every candidate rejects with the last reason', async () => {
    const { open } = world({ at: 'start' }, { at: 'start' }, { at: 'start' }, { at: 'start' })
    await expect(open()).rejects.toMatchObject({
      code: 'engine/backend-missing',
      message: 'wasm does not start',
    })
  })

  test('S6: an aborted start rejects with the signal’s reason', async () => {
    const { open } = world({ at: 'start' })
    const abort = new AbortController()
    const start = open(['webgpu'], abort.signal)
    abort.abort(new Error('stopped'))
    await expect(start).rejects.toThrow('stopped')
  })
})

test('S4: each candidate computes as many sequences at once as it was found to; a job’s own number comes first', async () => {
  const { ready, engines } = world()
  const engine = await ready(['webgl'])
  await engine.train(JOB)
  expect(engines[0]?.job?.microBatch).toBeUndefined() // three does not divide a batch of two
  await engine.train({ ...JOB, microBatch: 1 })
  expect(engines[0]?.job?.microBatch).toBe(1)
})

test('S8: other errors pass through and end no Worker', async () => {
  const { ready, calls, events } = world()
  const engine = await ready()
  const running = engine.train(JOB)
  await expect(engine.train(JOB)).rejects.toMatchObject({ code: 'engine/bad-job' })
  await running
  const broken = new EngineError('engine/not-finite', 'The loss is NaN.')
  const spoil = () => {
    throw broken
  }
  await expect(engine.train(JOB, { progress: spoil })).rejects.toBe(broken)
  expect(events).toEqual([])
  expect(calls.filter((call) => call.startsWith('start'))).toHaveLength(1)
})

test('S1: a fragment is kept as part of the whole, and is not the base', async () => {
  const { open, engines, calls } = world()
  const engine = await open()
  await engine.setParameters(new Float32Array(parameterCount(TINY)))
  await engine.setParameters(Float32Array.of(1, 2), [{ offset: 5, size: 2 }])
  calls.length = 0
  engines[0]?.die(lossOf(0))
  await turns(4)
  const values = await engine.getParameters()
  expect([...values.subarray(4, 8)]).toEqual([0, 1, 2, 0])
  expect(calls).toContain(`setBase ${parameterCount(TINY)}`)
})
