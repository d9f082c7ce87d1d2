/** Our own engines as contestants: those that volunteers' tabs run, one step a job. In Node as in a browser. */
import { createCompiledEngine } from '../../../shared/engine/compiled/createCompiledEngine.ts'
import type { Engine } from '../../../shared/engine/engine.ts'
import { timedStep } from '../../../shared/engine/measure.ts'
import type { WasmPaths } from '../../../shared/engine/tfjs/backend.ts'
import { createTfjsEngine } from '../../../shared/engine/tfjs/createTfjsEngine.ts'
import { bytesBeside, meterTensors } from '../../../shared/engine/tfjs/memoryMeter.ts'
import type { Contestant, ContestantOptions } from './contestant.ts'

export async function openOurs(options: ContestantOptions, wasmPaths: WasmPaths): Promise<Contestant> {
  const { config, backend } = options
  const meter = meterTensors()
  const engine = await createTfjsEngine({ backend, config, wasmPaths })
  const contestant = asContestant(engine, options)
  const beside = await bytesBeside(engine)
  return { ...contestant, peakBytes: () => meter.peak() + beside }
}

export async function openCompiled(options: ContestantOptions): Promise<Contestant> {
  if (options.backend !== 'webgpu') throw new Error(`There is no compiled engine on ${options.backend}.`)
  const { config, precision = 'f32' } = options
  return asContestant(await createCompiledEngine({ config, precision }), options)
}

function asContestant(engine: Engine, { batch, parameters, recipe }: ContestantOptions): Contestant {
  engine.setParameters(parameters)
  return {
    step: async (sequences, step) =>
      (await timedStep(engine, { batchSize: batch, ...recipe }, sequences, step)).loss,
    dispose: () => engine.dispose(),
  }
}
