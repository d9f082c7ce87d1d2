/**
 * The tensors that live as long as an engine: parameters, gradients and moments in as few buffers as the device's
 * limit allows, so that clipping and AdamW are a dispatch or two for the whole model. Every tensor of the layout begins
 * where a binding may there, which the flat order of model/layout.ts does not; `pieces` translates.
 */
import { type ModelConfig, ROPE_BASE } from '../../model/config.ts'
import { type ParameterEntry, type ParameterRange, parameterLayout } from '../../model/layout.ts'
import { piecesOf } from '../adamw.ts'
import { EngineError } from '../engine.ts'
import { STEP_NUMBERS_SIZE } from './kernels/crossEntropy.ts'
import { aligned, type Tensor, tensor, type View, view } from './plan.ts'

/** Where a tensor of the layout lies. */
export interface Place {
  readonly segment: number
  readonly offset: number
  readonly size: number
}

export interface State {
  readonly config: ModelConfig
  /** One of each for every segment. */
  readonly parameters: readonly Tensor[]
  readonly gradients: readonly Tensor[]
  readonly firstMoments: readonly Tensor[]
  readonly secondMoments: readonly Tensor[]
  /** By the layout's index. */
  readonly places: readonly Place[]
  /** Rotary embedding, [T, D/2]. */
  readonly cosines: Tensor
  readonly sines: Tensor
  /** What the host writes for each step: StepNumbers in kernels/crossEntropy.ts. */
  readonly numbers: Tensor
  /** Sum of losses, sum of norms, last loss, last norm. */
  readonly meter: Tensor
  /** Place by name, without `.weight`. */
  placeOf(name: string): Place
}

/** Elements of a segment for each tensor of the engine, when nothing is said about the device's limit. */
const MOST_ELEMENTS = 2 ** 28

/** `mostElements`: of one binding on the device. */
export function makeState(config: ModelConfig, mostElements = MOST_ELEMENTS): State {
  const layout = parameterLayout(config)
  const { places, sizes } = placesOf(layout, mostElements)
  const each = (name: string) => sizes.map((size, i) => tensor(`${name} ${i}`, size))
  const half = config.headDim / 2
  return {
    config,
    parameters: each('parameters'),
    gradients: each('gradients'),
    firstMoments: each('first moments'),
    secondMoments: each('second moments'),
    places,
    cosines: tensor('cosines', config.sequenceLength * half),
    sines: tensor('sines', config.sequenceLength * half),
    numbers: tensor('numbers', STEP_NUMBERS_SIZE),
    meter: tensor('meter', 4),
    placeOf(name) {
      const place = places[layout.findIndex((entry) => entry.name === `${name}.weight`)]
      if (place === undefined) throw new Error(`internal: no tensor ${name}.weight`)
      return place
    },
  }
}

/** Blocks stay whole, so that a kernel can bind several of a block's tensors at once. */
function placesOf(layout: readonly ParameterEntry[], most: number) {
  const sizes: number[] = []
  const places: Place[] = []
  for (const entries of unitsOf(layout)) {
    const unit = entries.reduce((sum, { size }) => sum + aligned(size), 0)
    if (unit > most)
      throw new EngineError(
        'engine/backend-missing',
        `This GPU binds ${most} numbers at once; the model needs ${unit}. Choose a smaller model.`,
      )
    let segment = sizes.length - 1
    if (segment < 0 || (sizes[segment] ?? 0) + unit > most) segment = sizes.push(0) - 1
    for (const { size } of entries) {
      const offset = sizes[segment] ?? 0
      places.push({ segment, offset, size })
      sizes[segment] = offset + aligned(size)
    }
  }
  return { places, sizes }
}

/** The blocks' tensors together, the others alone. */
function unitsOf(layout: readonly ParameterEntry[]): ParameterEntry[][] {
  const units = new Map<string, ParameterEntry[]>()
  for (const entry of layout) {
    const unit = entry.layer < 0 ? entry.name : String(entry.layer)
    units.set(unit, [...(units.get(unit) ?? []), entry])
  }
  return [...units.values()]
}

/** The view of a place in parameters, gradients or moments; of `count` places, when the next ones follow it. */
export function at(tensors: readonly Tensor[], { segment, offset, size }: Place, span = size): View {
  return view(tensors[segment] as Tensor, offset, span) // places name segments that exist
}

/** A part of the flat parameters: where it lies here, and where it begins among all the ranges' elements. */
export interface StatePiece {
  readonly segment: number
  readonly offset: number
  readonly size: number
  readonly at: number
}

export function pieces({ config, places }: State, ranges: readonly ParameterRange[]): StatePiece[] {
  return piecesOf(parameterLayout(config), ranges).map(({ tensor, from, size, at }) => {
    const { segment, offset } = places[tensor] as Place // pieces are of the layout's tensors
    return { segment, offset: offset + from, size, at }
  })
}

/** Position t turns pair i by t·10000^(−2i/D). [T, D/2] each. */
export function rotationTables({ sequenceLength, headDim }: ModelConfig) {
  const half = headDim / 2
  const angle = (i: number) => Math.floor(i / half) * ROPE_BASE ** ((-2 * (i % half)) / headDim)
  const table = (of: (angle: number) => number) =>
    Float32Array.from({ length: sequenceLength * half }, (_, i) => of(angle(i)))
  return { cosines: table(Math.cos), sines: table(Math.sin) }
}
