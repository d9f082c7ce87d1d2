/**
 * Measures inner steps on wasm in Node: `node --import tsx shared/engine/tfjs/measure.ts nano 16 40` takes 40 steps
 * of 16 sequences of the preset `nano`. Prints wall-clock time and, because that suffers from neighbours, CPU time.
 */
import { PRESET_NAMES, PRESETS } from '../../model/config.ts'
import { initialParameters } from '../../model/initial.ts'
import { randomFrom } from '../../model/random.ts'
import { createTfjsEngine } from './createTfjsEngine.ts'
import { nodeWasmPaths } from './nodeWasmPaths.ts'

const [name = 'nano', batchSize = 16, steps = 20] = [process.argv[2], ...process.argv.slice(3).map(Number)]
const preset = PRESET_NAMES.find((known) => known === name)
if (preset === undefined) throw new Error(`no preset ${name}; there are ${PRESET_NAMES.join(', ')}`)
const config = PRESETS[preset]

const uniform = randomFrom('measure')
const job = (count: number) => ({
  sequences: new Uint16Array(count * batchSize * (config.sequenceLength + 1)).map(() =>
    Math.floor(uniform() * config.vocabSize),
  ),
  steps: count,
  batchSize,
  firstStep: 0,
  totalSteps: 1_000,
  peakLearningRate: 1e-3,
})

const engine = await createTfjsEngine({ backend: 'wasm', config, wasmPaths: nodeWasmPaths() })
engine.setParameters(initialParameters(config, 'measure'))
await engine.train(job(3)) // compiles
const before = process.cpuUsage()
const { tokens, seconds } = await engine.train(job(steps))
const { user, system } = process.cpuUsage(before)
const milliseconds = (total: number) => `${(total / steps).toFixed(1)} ms`
console.log(`${name}, ${batchSize * config.sequenceLength} tokens a step, ${steps} steps:`)
console.log(`${milliseconds(seconds * 1_000)} a step, of it CPU ${milliseconds((user + system) / 1_000)}`)
console.log(`${Math.round(tokens / seconds)} tokens per second`)
