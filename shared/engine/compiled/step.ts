/**
 * The model's equations as plans: a training step, an evaluation, the logits that follow a context. Read it from top to
 * bottom beside ../reference.ts, which says the same in plain loops.
 *
 * Shapes stand at line ends: B sequences of T tokens, N = B·T rows, d = dModel, h = hidden, H = heads, D = headDim,
 * V = vocabSize. Three planes [3, N, d] lie `aligned(N·d)` elements apart, so that each can be bound by itself.
 */
import type { Choices } from './choices.ts'
import { attention, attentionBackwardKeys, attentionBackwardQueries } from './kernels/attention.ts'
import type { AttentionShape } from './kernels/attentionShape.ts'
import { crossEntropy, type LogitsShape, pairsOf, partialSums } from './kernels/crossEntropy.ts'
import { gatherRows, scatterRows } from './kernels/embedding.ts'
import { gainGradient, headGainGradient } from './kernels/gains.ts'
import { type HeadShape, headNorm, headNormBackward } from './kernels/headNorm.ts'
import { layerNorm, layerNormBackward } from './kernels/layerNorm.ts'
import { matmul, type Order, type Product } from './kernels/matmul.ts'
import { pickRow } from './kernels/pickRow.ts'
import { swiglu, swigluBackward } from './kernels/swiglu.ts'
import { adamW, endOfSums, SUM_PARTS, sumLosses, sumParts, sumSquares } from './kernels/update.ts'
import { makeSums, STRIPS } from './partialGradients.ts'
import {
  aligned,
  type List,
  makeList,
  type Plan,
  scratch,
  type Tensor,
  tensor,
  type View,
  view,
  withoutUnread,
} from './plan.ts'
import { at, type Place, type State } from './state.ts'

export interface StepShape {
  readonly state: State
  /** B */
  readonly sequences: number
  readonly choices: Choices
  /** Keeps of each block its input alone and makes the rest again in the backward pass. */
  readonly recomputes?: boolean
}

/** What the host gives a pass: the ids, and their order for the embedding's gradient. */
export interface Inputs {
  /** [B·(T + 1)] */
  readonly ids: Tensor
  /** [N] and [N + 1]: kernels/embedding.ts */
  readonly order: Tensor
  readonly starts: Tensor
}

export interface TrainingPlan extends Plan {
  readonly inputs: Inputs
}

export interface EvaluationPlan extends Plan {
  readonly ids: Tensor
  /** Cross entropy of each row, [N]. */
  readonly losses: Tensor
}

export interface NextPlan extends Plan {
  readonly ids: Tensor
  /** Index of the context's last row, [1]. */
  readonly row: Tensor
  /** [V] */
  readonly logits: Tensor
}

/** Elements of logits made at once: 64 MiB. */
const MOST_LOGITS = 2 ** 24
/** A chunk has a multiple of so many rows, so that whatever the width a binding may begin behind it. */
const ROWS_OF_CHUNK = 128

export function trainingPlan(shape: StepShape): TrainingPlan {
  const m = modelOf(shape)
  const { N, d } = m
  const pass = makeList()
  const inputs = {
    ids: tensor('ids', m.B * (m.T + 1)),
    order: tensor('order', N),
    starts: tensor('starts', N + 1),
  }
  const lossParts = tensor('sums of losses', SUM_PARTS)

  let x = embed(m, pass, inputs.ids) // [N, d]
  const blocks = Array.from({ length: m.config.layers }, (_, layer) => {
    const block = forwardBlock(m, pass, layer, x)
    x = block.out
    return block
  })
  const dx = scratch('gradient of x', N * d) // of the residual stream, all the way down
  lossAndGradient(m, pass, x, dx, inputs.ids, lossParts)
  for (const [layer, block] of [...blocks.entries()].reverse()) {
    const kept = shape.recomputes ? forwardBlock(m, pass, layer, block.x) : block
    backwardBlock(m, pass, layer, kept, dx)
  }
  pass.run(
    'gradient of embedding',
    scatterRows({ rows: N, width: d, length: m.T }),
    inputs.ids,
    inputs.order,
    inputs.starts,
    dx,
    m.gradient('model.embed_tokens'),
  )
  const update = updateList(m, lossParts)
  return {
    inputs,
    cleared: [...m.kept.gradients, lossParts],
    pass: withoutUnread(pass.calls),
    update: update.calls,
  }
}

export function evaluationPlan(shape: StepShape): EvaluationPlan {
  const m = modelOf(shape)
  const list = makeList()
  const ids = tensor('ids', m.B * (m.T + 1))
  const losses = tensor('losses', m.N)
  const hidden = finalStates(m, list, ids).y // [N, d]
  for (const chunk of chunksOf(m)) {
    const { logits, found } = logitsOf(m, list, hidden, chunk) // [rows, V]
    list.run('loss', crossEntropy(chunk, false), ids, found, logits, losses)
  }
  return { ids, losses, cleared: [], pass: list.calls, update: [] }
}

/** Of one sequence, whatever its T; only the logits of one row are made. */
export function nextPlan(shape: Omit<StepShape, 'sequences'>): NextPlan {
  const m = modelOf({ ...shape, sequences: 1 })
  const list = makeList()
  const [ids, row, logits] = [tensor('ids', m.T + 1), tensor('row', 1), tensor('logits', m.V)]
  const last = scratch('last row', m.d)
  const hidden = finalStates(m, list, ids).y // [T, d]
  list.run('last row', pickRow(m.d, m.element), hidden, row, last)
  list.run('logits', m.product('NT', 1, m.V, m.d, 'set', {}), last, m.weight('model.embed_tokens'), logits)
  return { ids, row, logits, cleared: [], pass: list.calls, update: [] }
}

const sharing = ({ threadsPerRow, subgroups }: Choices) => ({ threadsPerRow, subgroups })

/** Sizes, weights by name, and the shapes that kernels share. */
type Model = ReturnType<typeof modelOf>

function modelOf({ state, sequences: B, choices }: StepShape) {
  const { config } = state
  const { dModel: d, hidden: h, heads: H, headDim: D, sequenceLength: T, vocabSize: V } = config
  const N = B * T
  const { states: element } = choices
  const heads: HeadShape = {
    element,
    rows: N,
    heads: H,
    headDim: D,
    length: T,
    planeStride: aligned(N * d),
    gainStride: aligned(D),
  }
  const attends: AttentionShape = {
    element,
    sequences: B,
    length: T,
    heads: H,
    headDim: D,
    ...choices.attention,
    rows: Math.min(choices.attention.rows, T),
    atOnce: Math.min(choices.attention.atOnce, T),
  }
  const product = (
    order: Order,
    m: number,
    n: number,
    k: number,
    result: Product['result'],
    elements: Product['elements'],
    several: Pick<Product, 'batch' | 'terms'> = {},
  ) => {
    const whole = { order, m, n, k, result, elements, ...several }
    return matmul(whole, choices.tile(whole))
  }
  return {
    kept: state,
    config,
    choices,
    product,
    element,
    /** A state, or the gradient of one. */
    state: (name: string, size: number) => scratch(name, size, element),
    rowsOf: { rows: N, width: d, ...sharing(choices), element },
    heads,
    attends,
    /** Elements from one plane of [N, d], or of [N, h], to the next. */
    planeD: aligned(N * d),
    planeH: aligned(N * h),
    weight: (name: string, tensors = 1) => span(state, state.parameters, name, tensors),
    gradient: (name: string, tensors = 1) => span(state, state.gradients, name, tensors),
    ...{ B, T, N, d, h, H, D, V },
  }
}

/** The view of a weight, or of so many equal ones that follow one another in the layout. */
function span(state: State, of: readonly Tensor[], name: string, tensors: number): View {
  const place: Place = state.placeOf(name)
  return at(of, place, (tensors - 1) * aligned(place.size) + place.size)
}

/** ids: [B·(T + 1)] → [N, d] */
function embed(m: Model, list: List, ids: Tensor): Tensor {
  const x = scratch('x', m.N * m.d)
  const { N: rows, d: width, T: length } = m
  list.run('embedding', gatherRows({ rows, width, length }), ids, m.weight('model.embed_tokens'), x)
  return x
}

interface Normed {
  readonly y: Tensor
  /** Mean and 1/deviation of each row, [N, 2]. */
  readonly stats: Tensor
}

function normalise(m: Model, list: List, label: string, x: Tensor, name: string): Normed {
  const [y, stats] = [m.state('normed', m.N * m.d), scratch('stats', 2 * m.N)]
  list.run(label, layerNorm(m.rowsOf), x, m.weight(name), y, stats)
  return { y, stats }
}

/** What a block's backward pass reads. */
interface Block {
  readonly x: Tensor // [N, d]
  readonly input: Normed // [N, d]
  readonly raw: Tensor // queries, keys, values: [3, N, d]
  readonly headStats: Tensor // [2·N·H, 2]
  readonly turned: Tensor // queries and keys after norm and rotation: [2, N, d]
  readonly merged: Tensor // [N, d]
  readonly sums: Tensor // [B, H, T]
  readonly middle: Tensor // [N, d]
  readonly post: Normed // [N, d]
  readonly gateUp: Tensor // [2, N, h]
  readonly mixed: Tensor // [N, h]
  readonly out: Tensor // [N, d]
}

function forwardBlock(m: Model, list: List, layer: number, x: Tensor): Block {
  const { N, d, h, H, planeD, planeH, element: a, kept } = m
  const named = (name: string) => `model.layers.${layer}.${name}`
  const run: List['run'] = (label, ...rest) => list.run(`block ${layer}: ${label}`, ...rest)
  const part = (of: Tensor, plane: number, planes = 1) => planesOf(of, plane, planes, planeD, N * d)

  const input = normalise(m, list, `block ${layer}: input norm`, x, named('input_layernorm'))
  const raw = m.state('queries, keys, values', 3 * planeD)
  const square = aligned(d * d)
  const threefold = { count: 3, strides: { a: 0, b: square, c: planeD } }
  run(
    'queries, keys, values',
    m.product('NN', N, d, d, 'set', { a, c: a }, { batch: threefold }),
    input.y,
    m.weight(named('self_attn.q_proj'), 3),
    raw,
  )
  const [turned, headStats] = [m.state('turned', 2 * planeD), scratch('head stats', 4 * N * H)]
  const gains = m.weight(named('self_attn.q_norm'), 2)
  run(
    'head norm and rotation',
    headNorm(m.heads),
    part(raw, 0, 2),
    gains,
    kept.cosines,
    kept.sines,
    turned,
    headStats,
  )
  const [merged, sums] = [m.state('merged', N * d), scratch('log sums', N * H)]
  run('attention', attention(m.attends), part(turned, 0), part(turned, 1), part(raw, 2), merged, sums)
  const middle = scratch('x after attention', N * d)
  run(
    'attention output',
    m.product('NN', N, d, d, 'residual', { a }),
    merged,
    m.weight(named('self_attn.o_proj')),
    x,
    middle,
  )

  const post = normalise(m, list, `block ${layer}: post norm`, middle, named('post_attention_layernorm'))
  const gateUp = m.state('gate, up', 2 * planeH)
  const twofold = { count: 2, strides: { a: 0, b: aligned(d * h), c: planeH } }
  run(
    'gate, up',
    m.product('NN', N, h, d, 'set', { a, c: a }, { batch: twofold }),
    post.y,
    m.weight(named('mlp.gate_proj'), 2),
    gateUp,
  )
  const mixed = m.state('mixed', N * h)
  run('SwiGLU', swiglu(N * h, planeH, a), gateUp, mixed)
  const out = scratch('x after block', N * d)
  run(
    'down',
    m.product('NN', N, d, h, 'residual', { a }),
    mixed,
    m.weight(named('mlp.down_proj')),
    middle,
    out,
  )
  return { x, input, raw, headStats, turned, merged, sums, middle, post, gateUp, mixed, out }
}

/** `planes` planes from number `plane` on, each of `size` elements. */
function planesOf(of: Tensor, plane: number, planes: number, stride: number, size: number): View {
  return view(of, plane * stride, (planes - 1) * stride + size)
}

function finalStates(m: Model, list: List, ids: Tensor): Normed {
  let x = embed(m, list, ids) // [N, d]
  for (let layer = 0; layer < m.config.layers; layer++) x = forwardBlock(m, list, layer, x).out
  return normalise(m, list, 'final norm', x, 'model.norm')
}

/** Rows whose logits are made at once; all chunks but the last have a multiple of ROWS_OF_CHUNK. */
function chunksOf({ N, V, T, choices, element }: Model): LogitsShape[] {
  const most = Math.max(ROWS_OF_CHUNK, Math.floor(MOST_LOGITS / V / ROWS_OF_CHUNK) * ROWS_OF_CHUNK)
  return Array.from({ length: Math.ceil(N / most) }, (_, chunk) => ({
    rows: Math.min(most, N - chunk * most),
    firstRow: chunk * most,
    columns: V,
    parts: Math.min(choices.lossParts, V),
    length: T,
    ...sharing(choices),
    element,
  }))
}

const rowsOf = (of: Tensor, { firstRow, rows }: LogitsShape, d: number) => view(of, firstRow * d, rows * d)

/** hidden: [N, d] → logits of a chunk's rows, [rows, V], and what partialSums found in them. */
function logitsOf(m: Model, list: List, hidden: Tensor, chunk: LogitsShape) {
  const { rows } = chunk
  const a = m.element
  const [logits, found] = [
    m.state('logits', rows * m.V),
    scratch('maxima and sums', 2 * rows * pairsOf(chunk)),
  ]
  list.run(
    'logits',
    m.product('NT', rows, m.V, m.d, 'set', { a, c: a }),
    rowsOf(hidden, chunk, m.d),
    m.weight('model.embed_tokens'),
    logits,
  )
  list.run('loss', partialSums(chunk), logits, found)
  return { logits, found }
}

/** x: [N, d] → dx; the gradients of embedding and final norm; the losses' sums. */
function lossAndGradient(m: Model, list: List, x: Tensor, dx: Tensor, ids: Tensor, lossParts: Tensor): void {
  const { N, d, V, element: a } = m
  const final = normalise(m, list, 'final norm', x, 'model.norm')
  const [losses, dHidden] = [scratch('losses', N), m.state('gradient of final norm', N * d)]
  const embedding = 'model.embed_tokens'
  for (const chunk of chunksOf(m)) {
    const { rows } = chunk
    const { logits, found } = logitsOf(m, list, final.y, chunk) // [rows, V]
    list.run('loss', crossEntropy(chunk, true), ids, found, logits, losses, view(m.kept.numbers))
    const [hidden, slope] = [rowsOf(final.y, chunk, d), rowsOf(dHidden, chunk, d)]
    const sums = makeSums(m.choices, [{ m: V, n: d, rows, to: 0, elements: { a, b: a } }])
    sums.product(list.run, 'gradient of logits’ weights', 0, [logits, hidden, m.gradient(embedding)])
    sums.add(list.run, 'gradient of logits’ weights', m.gradient(embedding))
    list.run(
      'gradient of final states',
      m.product('NN', rows, d, V, 'set', { a, c: a }),
      logits,
      m.weight(embedding),
      slope,
    )
  }
  list.run('sum of losses', sumLosses(N), losses, lossParts)
  list.run(
    'final norm backward',
    layerNormBackward(m.rowsOf, false),
    dHidden,
    x,
    m.weight('model.norm'),
    final.stats,
    dx,
  )
  const label = 'gain of final norm'
  const sums = makeSums(m.choices, [], [{ width: d, parts: STRIPS, to: 0 }])
  list.run(label, gainGradient({ rows: N, strips: STRIPS }, d, a), dHidden, x, final.stats, sums.strips(0))
  sums.add(list.run, label, m.gradient('model.norm'))
}

/** `dx`, the gradient of the block's output, becomes that of its input, in place. */
function backwardBlock(m: Model, list: List, layer: number, s: Block, dx: Tensor): void {
  const { N, d, h, D, H, planeD, planeH, element: a, kept } = m
  const named = (name: string) => `model.layers.${layer}.${name}`
  const run: List['run'] = (label, ...rest) => list.run(`block ${layer} backward: ${label}`, ...rest)
  const part = (of: Tensor, plane: number, planes = 1) => planesOf(of, plane, planes, planeD, N * d)
  const strips = { rows: N, strips: STRIPS }
  const [square, wide] = [aligned(d * d), aligned(d * h)]
  const first = kept.placeOf(named('input_layernorm'))
  const to = (name: string) => kept.placeOf(named(name)).offset - first.offset
  const [DOWN, GATE_UP, OUTPUT, PROJECTIONS] = [0, 1, 2, 3]
  const [POST_NORM, HEAD_NORMS, INPUT_NORM] = [0, 1, 3]
  const sums = makeSums(
    m.choices,
    [
      { m: h, n: d, rows: N, to: to('mlp.down_proj'), elements: { a } },
      {
        ...{ m: d, n: h, rows: N, to: to('mlp.gate_proj'), elements: { a, b: a } },
        batch: { count: 2, strides: { a: 0, b: planeH, c: wide } },
      },
      { m: d, n: d, rows: N, to: to('self_attn.o_proj'), elements: { a } },
      {
        ...{ m: d, n: d, rows: N, to: to('self_attn.q_proj'), elements: { a, b: a } },
        batch: { count: 3, strides: { a: 0, b: planeD, c: square } },
      },
    ],
    [
      { width: d, parts: STRIPS, to: to('post_attention_layernorm') },
      { width: D, parts: STRIPS * H, to: to('self_attn.q_norm') },
      { width: D, parts: STRIPS * H, to: to('self_attn.k_norm') },
      { width: d, parts: STRIPS, to: 0 },
    ],
  )

  const dMixed = m.state('gradient of mixed', N * h)
  run('down', m.product('NT', N, h, d, 'set', { c: a }), dx, m.weight(named('mlp.down_proj')), dMixed)
  sums.product(run, 'weights of down', DOWN, [s.mixed, dx, m.gradient(named('mlp.down_proj'))])
  const dGateUp = m.state('gradient of gate, up', 2 * planeH)
  run('SwiGLU', swigluBackward(N * h, planeH, a), dMixed, s.gateUp, dGateUp)
  sums.product(run, 'weights of gate, up', GATE_UP, [
    s.post.y,
    dGateUp,
    m.gradient(named('mlp.gate_proj'), 2),
  ])
  const dPost = m.state('gradient of post norm', N * d)
  run(
    'gate, up',
    m.product(...(['NT', N, d, h, 'set', { a, c: a }] as const), {
      terms: { count: 2, strides: { a: planeH, b: wide } },
    }),
    dGateUp,
    m.weight(named('mlp.gate_proj'), 2),
    dPost,
  )
  const postGain = m.weight(named('post_attention_layernorm'))
  run('post norm', layerNormBackward(m.rowsOf, true), dPost, s.middle, postGain, s.post.stats, dx)
  run('gain of post norm', gainGradient(strips, d, a), dPost, s.middle, s.post.stats, sums.strips(POST_NORM))

  const dMerged = m.state('gradient of merged', N * d)
  run(
    'attention output',
    m.product('NT', N, d, d, 'set', { c: a }),
    dx,
    m.weight(named('self_attn.o_proj')),
    dMerged,
  )
  sums.product(run, 'weights of attention output', OUTPUT, [
    s.merged,
    dx,
    m.gradient(named('self_attn.o_proj')),
  ])
  const dTurned = m.state('gradient of turned', 2 * planeD)
  const dRaw = m.state('gradient of queries, keys, values', 3 * planeD)
  const along = scratch('along', N * H)
  const [q, k, v] = [part(s.turned, 0), part(s.turned, 1), part(s.raw, 2)]
  run(
    'attention, queries',
    attentionBackwardQueries(m.attends),
    ...[q, k, v, s.merged, dMerged, s.sums, along, part(dTurned, 0)],
  )
  run(
    'attention, keys and values',
    attentionBackwardKeys(m.attends),
    ...[q, k, v, dMerged, s.sums, along, part(dTurned, 1), part(dRaw, 2)],
  )
  const raw = part(s.raw, 0, 2)
  run(
    'head norm and rotation',
    headNormBackward(m.heads),
    dTurned,
    raw,
    m.weight(named('self_attn.q_norm'), 2),
    kept.cosines,
    kept.sines,
    s.headStats,
    part(dRaw, 0, 2),
  )
  run(
    'gains of head norm',
    headGainGradient(strips, m.heads),
    ...[dTurned, raw, kept.cosines, kept.sines, s.headStats, sums.strips(HEAD_NORMS, 2)],
  )
  sums.product(run, 'weights of queries, keys, values', PROJECTIONS, [
    s.input.y,
    dRaw,
    m.gradient(named('self_attn.q_proj'), 3),
  ])
  const dInput = m.state('gradient of input norm', N * d)
  run(
    'queries, keys, values',
    m.product(...(['NT', N, d, d, 'set', { a, c: a }] as const), {
      terms: { count: 3, strides: { a: planeD, b: square } },
    }),
    dRaw,
    m.weight(named('self_attn.q_proj'), 3),
    dInput,
  )
  const inputGain = m.weight(named('input_layernorm'))
  run('input norm', layerNormBackward(m.rowsOf, true), dInput, s.x, inputGain, s.input.stats, dx)
  run('gain of input norm', gainGradient(strips, d, a), dInput, s.x, s.input.stats, sums.strips(INPUT_NORM))

  const last = kept.placeOf(named('mlp.down_proj'))
  sums.add(run, 'gradients', at(kept.gradients, first, last.offset + last.size - first.offset))
}

/** Loss, norm, clipping, AdamW: once for a step, whatever the number of micro-batches. */
function updateList({ kept: state, choices }: Model, lossParts: Tensor): List {
  const list = makeList()
  const count = state.gradients.length
  const parts = Math.min(choices.squareParts, ...state.gradients.map(({ size }) => aligned(size / 4)))
  const [squares, sums, scale] = [
    scratch('squares', count * parts),
    scratch('sums of squares', SUM_PARTS),
    scratch('scale', 1),
  ]
  state.gradients.forEach((gradients, i) => {
    list.run('squares', sumSquares(gradients.size, parts), gradients, view(squares, i * parts, parts))
  })
  list.run('sums of squares', sumParts(count * parts), squares, sums)
  list.run('loss and norm', endOfSums(), lossParts, sums, state.meter, scale, state.numbers)
  state.gradients.forEach((gradients, i) => {
    const of = (tensors: readonly Tensor[]) => tensors[i] as Tensor // as many segments of each
    const [parameters, first, second] = [state.parameters, state.firstMoments, state.secondMoments].map(of)
    list.run(
      'AdamW',
      adamW(gradients.size),
      ...([parameters, first, second, gradients, scale, state.numbers] as Tensor[]),
    )
  })
  return list
}
