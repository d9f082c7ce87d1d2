/**
 * Gradients of weights and gains, some of which are made in parts first: products where they make too few workgroups
 * along the rows, and gains always. One kernel adds all of a block's up, if there are any.
 */
import type { Choices } from './choices.ts'
import { matmul, type Product, partSize } from './kernels/matmul.ts'
import { type Parts, sumOfParts } from './kernels/sumOfParts.ts'
import { type List, scratch, type Tensor, type View, view } from './plan.ts'

/** Strips of rows that a gain's gradient is summed in; so many f32 that a binding may begin behind them. */
export const STRIPS = 64

interface WeightGradient {
  /** Of the weights, [m, n] = [inputs, outputs]. */
  readonly m: number
  readonly n: number
  readonly rows: number
  readonly batch?: Product['batch']
  readonly elements: Product['elements']
  /** Offset among the gradients that are added up together. */
  readonly to: number
}

/** A gain's strips; or a head's, whose strips are all the heads'. */
type Gain = Pick<Parts, 'width' | 'parts' | 'to'>

export function makeSums(choices: Choices, weights: readonly WeightGradient[], gains: readonly Gain[] = []) {
  let size = 0
  const places: Parts[] = []
  const room = (elements: number) => {
    const from = size
    size += Math.ceil(elements / STRIPS) * STRIPS
    return from
  }
  const strips = gains.map(({ width, parts, to }) => {
    const from = room(width * parts)
    places.push({ width, from, stride: width, parts, to })
    return { from, size: width * parts }
  })
  const products = weights.map(({ m, n, rows: k, batch, elements, to }) => {
    const whole: Product = { order: 'TN', m, n, k, batch, elements, result: 'add' }
    const splits = choices.splits(whole)
    if (splits === 1) return { product: whole, place: null }
    const product: Product = { ...whole, result: 'set', splits }
    const count = batch?.count ?? 1
    const each = partSize(product)
    const place = { size: splits * count * each, from: room(splits * count * each) }
    for (let at = 0; at < count; at++) {
      const [from, offset] = [place.from + at * each, to + at * (batch?.strides.c ?? 0)]
      places.push({ width: m * n, from, stride: count * each, parts: splits, to: offset })
    }
    return { product, place }
  })
  const partial = scratch('parts of gradients', size)
  return {
    /** Where gain number `index` has its strips; of two that follow one another, both. */
    strips(index: number, count = 1): View {
      const [first, last] = [strips[index], strips[index + count - 1]]
      if (first === undefined || last === undefined) throw new Error(`internal: no gain ${index}`)
      return view(partial, first.from, last.from + last.size - first.from)
    },
    /** Adds xᵀ·dy to the gradient, or makes it in parts. */
    product(
      run: List['run'],
      label: string,
      index: number,
      of: readonly [Tensor | View, Tensor | View, View],
    ) {
      const made = products[index]
      if (made === undefined) throw new Error(`internal: no product ${index}`)
      const { product, place } = made
      const [x, dy, gradient] = of
      const to = place === null ? gradient : view(partial, place.from, place.size)
      run(label, matmul(product, choices.tile(product)), x, dy, to)
    },
    /** `gradients`: those from the first to the last. */
    add(run: List['run'], label: string, gradients: View) {
      if (places.length > 0) run(label, sumOfParts(places), partial, gradients)
    },
  }
}
