/**
 * The inner step in jax-js: one jit of loss and gradient, one of the update. Arrays are reference counted: calling
 * a function gives its arguments away, and the step's outputs are the next step's inputs.
 */
import { blockUntilReady, defaultDevice, init, jit, numpy as np, valueAndGrad } from '@jax-js/jax'
import type { ModelConfig } from '../../../../shared/model/config.ts'
import { parameterLayout } from '../../../../shared/model/layout.ts'
import {
  BETA_1,
  BETA_2,
  type ContestantOptions,
  EPSILON,
  inputsAndTargets,
  NORM_EPSILON,
  type OpenContestant,
  updateFactors,
} from '../contestant.ts'
import { type Batch, meanLosses, type Tables } from './jaxModel.ts'
import { rotationTables } from './parameters.ts'

/** Parameters and moments, one array for each entry of the layout. */
type State = {
  parameters: np.Array[]
  first: np.Array[]
  second: np.Array[]
}

/** @throws Error when jax-js does not start on the backend, or is not measured on it (webgl). */
export const openJaxJs: OpenContestant = async (options) => {
  const { config, backend, recipe } = options
  await openDevice(backend)
  const tables = makeTables(config)
  const pass = lossAndGradients(config)
  const update = jit(updated)
  let state = initialState(options)
  return {
    async step(sequences, step) {
      const parameters = state.parameters.map((array) => array.ref)
      const [crossEntropy, gradients] = pass(parameters, batchOf(sequences, config), refs(tables))
      const { keep, rate, unbias } = updateFactors(recipe, step)
      state = update(state, gradients, np.array(new Float32Array([keep, rate, unbias])))
      await blockUntilReady(state)
      const [loss = Number.NaN] = await crossEntropy.data()
      return loss
    },
    dispose() {
      for (const arrays of Object.values(state)) for (const array of arrays) array.dispose()
      for (const table of Object.values(tables)) table.dispose()
      pass.dispose()
      update.dispose()
    },
  }
}

async function openDevice(backend: ContestantOptions['backend']): Promise<void> {
  if (backend === 'webgl') {
    throw new Error(
      'jax-js is not measured on webgl, which it offers on a best-effort basis. Use wasm or webgpu.',
    )
  }
  const started = await init(backend)
  if (!started.includes(backend)) throw new Error(`jax-js cannot start ${backend} here.`)
  defaultDevice(backend)
}

function makeTables(config: ModelConfig): Tables {
  const { cos, sin } = rotationTables(config)
  const shape = [config.sequenceLength, config.headDim]
  return { cos: np.array(cos, { shape }), sin: np.array(sin, { shape }) }
}

const refs = ({ cos, sin }: Tables): Tables => ({ cos: cos.ref, sin: sin.ref })

function initialState({ config, parameters }: ContestantOptions): State {
  const layout = parameterLayout(config)
  const filled = (values: (from: number, to: number) => Float32Array<ArrayBuffer>) =>
    layout.map(({ shape, offset, size }) => np.array(values(offset, offset + size), { shape: [...shape] }))
  return {
    parameters: filled((from, to) => new Float32Array(parameters.subarray(from, to))),
    first: filled((from, to) => new Float32Array(to - from)),
    second: filled((from, to) => new Float32Array(to - from)),
  }
}

function batchOf(sequences: Uint16Array, { sequenceLength }: ModelConfig): Batch {
  const { inputs, targets } = inputsAndTargets(sequences, sequenceLength)
  return { inputs: np.array(inputs), targets: np.array(targets) }
}

/** The cross entropy to report, and the gradient of it plus z-loss, one array a parameter. */
function lossAndGradients(config: ModelConfig) {
  const losses = (parameters: np.Array[], batch: Batch, tables: Tables): [np.Array, np.Array] =>
    meanLosses(parameters, batch, tables, config)
  const differentiated = valueAndGrad(losses, { hasAux: true })
  return jit((parameters: np.Array[], batch: Batch, tables: Tables): [np.Array, np.Array[]] => {
    const [[loss, crossEntropy], gradients] = differentiated(parameters, batch, tables)
    loss.dispose()
    return [crossEntropy, gradients]
  })
}

/** AdamW, after the gradient's global norm is clipped to 1. factors: [3], as in UpdateFactors. */
function updated(state: State, gradients: np.Array[], factors: np.Array): State {
  const [keep, rate, unbias] = np.split(factors, 3) as [np.Array, np.Array, np.Array] // [1] each
  const scale = clippingFactor(gradients.map((gradient) => gradient.ref))
  const next: State = { parameters: [], first: [], second: [] }
  gradients.forEach((raw, i) => {
    // One of each for every parameter.
    const [p, m, v] = [state.parameters[i], state.first[i], state.second[i]] as [np.Array, np.Array, np.Array]
    const gradient = raw.mul(scale.ref)
    const first = m.mul(BETA_1).add(gradient.ref.mul(1 - BETA_1))
    const second = v.mul(BETA_2).add(np.square(gradient).mul(1 - BETA_2))
    const spread = np.sqrt(second.ref.mul(unbias.ref)).add(EPSILON)
    const move = first.ref.mul(rate.ref).div(spread)
    next.parameters.push(p.mul(keep.ref).sub(move))
    next.first.push(first)
    next.second.push(second)
  })
  for (const array of [keep, rate, unbias, scale]) array.dispose()
  return next
}

function clippingFactor(gradients: np.Array[]): np.Array {
  const norm = np.sqrt(gradients.map((gradient) => np.square(gradient).sum()).reduce((a, b) => a.add(b)))
  return np.minimum(1, np.reciprocal(norm.add(NORM_EPSILON)))
}
