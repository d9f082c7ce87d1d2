/** Our own engine as a contestant: the engine that volunteers' tabs run, one step a job. */
import { browserWasmPaths } from '../../../shared/engine/tfjs/browserWasmPaths.ts'
import { createTfjsEngine } from '../../../shared/engine/tfjs/createTfjsEngine.ts'
import type { OpenContestant } from './contestant.ts'

export const openOurs: OpenContestant = async ({ config, backend, batch, parameters, recipe }) => {
  const engine = await createTfjsEngine({ backend, config, wasmPaths: browserWasmPaths })
  engine.setParameters(parameters)
  return {
    async step(sequences, step) {
      const job = { sequences, steps: 1, batchSize: batch, firstStep: step, ...recipe }
      return (await engine.train(job)).meanLoss
    },
    dispose: () => engine.dispose(),
  }
}
