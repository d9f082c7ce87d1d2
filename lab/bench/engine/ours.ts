/** Our own engine as a contestant: the engine that volunteers' tabs run, one step a job. In Node as in a browser. */
import { timedStep } from '../../../shared/engine/measure.ts'
import type { WasmPaths } from '../../../shared/engine/tfjs/backend.ts'
import { createTfjsEngine } from '../../../shared/engine/tfjs/createTfjsEngine.ts'
import { bytesBeside, meterTensors } from '../../../shared/engine/tfjs/memoryMeter.ts'
import type { Contestant, ContestantOptions } from './contestant.ts'

export async function openOurs(options: ContestantOptions, wasmPaths: WasmPaths): Promise<Contestant> {
  const { config, backend, batch, parameters, recipe } = options
  const meter = meterTensors()
  const engine = await createTfjsEngine({ backend, config, wasmPaths })
  engine.setParameters(parameters)
  const beside = await bytesBeside(engine)
  return {
    step: async (sequences, step) =>
      (await timedStep(engine, { batchSize: batch, ...recipe }, sequences, step)).loss,
    peakBytes: () => meter.peak() + beside,
    dispose: () => engine.dispose(),
  }
}
