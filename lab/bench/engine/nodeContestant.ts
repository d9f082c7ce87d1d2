/** The process that nodeHost.ts starts: an engine of ours alone, on wasm or, through Dawn, on WebGPU. */
import { installDawn, NO_DAWN } from '../../../shared/engine/tfjs/dawn.ts'
import { meterBuffers } from '../../../shared/engine/tfjs/memoryMeter.ts'
import { nodeWasmPaths } from '../../../shared/engine/tfjs/nodeWasmPaths.ts'
import type { Contestant, ContestantOptions } from './contestant.ts'
import { countDispatches } from './countDispatches.ts'
import type { NodeAnswer, NodeRequest, OurEngine } from './nodeHost.ts'

let contestant: Contestant | null = null
let [dispatches, peakOfBuffers] = [() => 0, () => 0]

async function open(engine: OurEngine, options: ContestantOptions): Promise<void> {
  if (options.backend === 'webgpu') {
    if ((await installDawn()) === null) throw new Error(NO_DAWN)
    dispatches = countDispatches()
    peakOfBuffers = meterBuffers().peak
  }
  const { openCompiled, openOurs } = await import('./ours.ts')
  contestant = await (engine === 'tfjs' ? openOurs(options, nodeWasmPaths()) : openCompiled(options))
}

async function answer(request: NodeRequest): Promise<NodeAnswer> {
  if (request.kind === 'open') {
    await open(request.engine, request.options)
    return { kind: 'opened' }
  }
  if (contestant === null) throw new Error('internal: a step before open')
  if (request.kind === 'counts') {
    const peakBytes = peakOfBuffers() || (contestant.peakBytes?.() ?? null)
    return { kind: 'counts', counts: { dispatches: dispatches(), peakBytes } }
  }
  const from = performance.now()
  const loss = await contestant.step(request.sequences, request.step)
  return { kind: 'step', step: { loss, milliseconds: performance.now() - from } }
}

process.on('message', (request: NodeRequest) => {
  answer(request).then(
    (result) => process.send?.(result),
    (error: unknown) => process.send?.({ kind: 'failed', message: String(error) } satisfies NodeAnswer),
  )
})
