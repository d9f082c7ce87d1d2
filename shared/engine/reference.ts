/**
 * The model and its inner step once more, in plain f64, for tests only. Slow, and written from the description
 * of the algorithm, not from the engine: gradients come from a tape of scalars, so they owe nothing to the
 * engine's hand-written backward pass. Good for a few thousand parameters and a dozen tokens.
 */
import { LAYER_NORM_EPSILON, type ModelConfig, ROPE_BASE, Z_LOSS } from '../model/config.ts'
import { parameterLayout } from '../model/layout.ts'
import type { TrainJob } from './engine.ts'
import { innerLearningRate, localWarmup } from './schedule.ts'

/** A number on the tape: its index. */
type Scalar = number

/** Every node has at most two parents and the derivative with respect to each. */
class Tape {
  readonly value: number[] = []
  readonly #parents: Scalar[] = []
  readonly #slopes: number[] = []

  push(value: number, a = 0, slopeA = 0, b = 0, slopeB = 0): Scalar {
    this.#parents.push(a, b)
    this.#slopes.push(slopeA, slopeB)
    return this.value.push(value) - 1
  }

  of(x: Scalar): number {
    return this.value[x] as number // every Scalar was made by push
  }

  add = (a: Scalar, b: Scalar) => this.push(this.of(a) + this.of(b), a, 1, b, 1)
  sub = (a: Scalar, b: Scalar) => this.push(this.of(a) - this.of(b), a, 1, b, -1)
  mul = (a: Scalar, b: Scalar) => this.push(this.of(a) * this.of(b), a, this.of(b), b, this.of(a))
  times = (a: Scalar, factor: number) => this.push(this.of(a) * factor, a, factor)
  exp = (a: Scalar) => this.push(Math.exp(this.of(a)), a, Math.exp(this.of(a)))
  log = (a: Scalar) => this.push(Math.log(this.of(a)), a, 1 / this.of(a))
  power = (a: Scalar, n: number) => this.push(this.of(a) ** n, a, n * this.of(a) ** (n - 1))
  sum = (list: Scalar[]) => list.reduce(this.add)
  dot = (a: Scalar[], b: Scalar[]) => this.sum(a.map((x, i) => this.mul(x, b[i] as Scalar))) // equal lengths

  /** Derivative of `y` with respect to every node. */
  gradient(y: Scalar): Float64Array {
    const slope = new Float64Array(this.value.length)
    slope[y] = 1
    for (let node = y; node >= 0; node--) {
      for (const side of [2 * node, 2 * node + 1]) {
        const parent = this.#parents[side] as Scalar // two entries a node
        slope[parent] = (slope[parent] as number) + (slope[node] as number) * (this.#slopes[side] as number)
      }
    }
    return slope
  }
}

type Vector = Scalar[]
/** Row i, column j at [i][j]. */
type Matrix = Vector[]

class ReferenceModel {
  readonly tape = new Tape()
  readonly #tensors = new Map<string, Matrix>()

  constructor(
    readonly config: ModelConfig,
    parameters: ArrayLike<number>,
  ) {
    const { tape } = this
    tape.push(0) // node 0 is the parent of whatever has none
    for (let i = 0; i < parameters.length; i++) tape.push(parameters[i] as number)
    for (const { name, shape, offset } of parameterLayout(config)) {
      const [rows, columns] = shape.length === 2 ? (shape as [number, number]) : [1, shape[0] as number]
      const at = (i: number, j: number) => 1 + offset + i * columns + j
      this.#tensors.set(name, grid(rows, columns, at))
    }
  }

  /** [tokens][V] */
  logits(ids: readonly number[]): Matrix {
    const { tape, config } = this
    const embedding = this.#get('model.embed_tokens')
    let x = ids.map((id) => embedding[id] as Vector) // [T][d]
    for (let layer = 0; layer < config.layers; layer++) x = this.#block(x, `model.layers.${layer}`)
    return x.map((row) => {
      const hidden = this.#norm(row, this.#gain('model.norm'))
      return embedding.map((to) => tape.dot(hidden, to))
    })
  }

  /** Per token of one sequence: cross entropy and logsumexp. */
  sequence(ids: readonly number[]): { crossEntropy: Scalar; logSumExp: Scalar }[] {
    const { tape } = this
    return this.logits(ids.slice(0, -1)).map((logits, t) => {
      const logSumExp = tape.log(tape.sum(logits.map(tape.exp)))
      return { crossEntropy: tape.sub(logSumExp, logits[ids[t + 1] as number] as Scalar), logSumExp }
    })
  }

  #block(x: Matrix, name: string): Matrix {
    const { tape } = this
    const normed = x.map((row) => this.#norm(row, this.#gain(`${name}.input_layernorm`)))
    const attended = this.#attention(normed, `${name}.self_attn`)
    const middle = x.map((row, t) => row.map((value, i) => tape.add(value, attended[t]?.[i] as Scalar)))
    return middle.map((row) => {
      const inner = this.#norm(row, this.#gain(`${name}.post_attention_layernorm`))
      const gate = this.#apply(inner, `${name}.mlp.gate_proj`)
      const up = this.#apply(inner, `${name}.mlp.up_proj`)
      const mixed = gate.map((g, i) => tape.mul(this.#silu(g), up[i] as Scalar))
      const down = this.#apply(mixed, `${name}.mlp.down_proj`)
      return row.map((value, i) => tape.add(value, down[i] as Scalar))
    })
  }

  #attention(x: Matrix, name: string): Matrix {
    const { tape, config } = this
    const project = (kind: string) => x.map((row) => this.#apply(row, `${name}.${kind}_proj`))
    const [q, k, v] = [project('q'), project('k'), project('v')]
    const head = (row: Vector, h: number) => row.slice(h * config.headDim, (h + 1) * config.headDim)
    const turned = (rows: Matrix, h: number, kind: string) =>
      rows.map((row, t) => this.#rotate(this.#norm(head(row, h), this.#gain(`${name}.${kind}_norm`)), t))
    const heads = Array.from({ length: config.heads }, (_, h) => {
      const [queries, keys] = [turned(q, h, 'q'), turned(k, h, 'k')]
      return queries.map((query, t) => {
        const seen = keys.slice(0, t + 1)
        const weights = seen.map((key) => tape.exp(tape.times(tape.dot(query, key), config.headDim ** -0.5)))
        const total = tape.power(tape.sum(weights), -1)
        const values = v.slice(0, t + 1).map((row) => head(row, h))
        return Array.from({ length: config.headDim }, (_, i) =>
          tape.mul(
            total,
            tape.dot(
              weights,
              values.map((value) => value[i] as Scalar),
            ),
          ),
        )
      })
    })
    return x.map((_, t) =>
      this.#apply(
        heads.flatMap((rows) => rows[t] as Vector),
        `${name}.o_proj`,
      ),
    )
  }

  #norm(x: Vector, gain: Vector): Vector {
    const { tape } = this
    const mean = tape.times(tape.sum(x), 1 / x.length)
    const centred = x.map((value) => tape.sub(value, mean))
    const variance = tape.times(tape.dot(centred, centred), 1 / x.length)
    const scale = tape.power(tape.add(variance, tape.push(LAYER_NORM_EPSILON)), -0.5)
    return centred.map((value, i) => tape.mul(tape.mul(value, scale), gain[i] as Scalar))
  }

  #rotate(x: Vector, position: number): Vector {
    const { tape } = this
    const half = x.length / 2
    return x.map((value, i) => {
      const angle = position * ROPE_BASE ** (-(i % half) / half)
      const partner = x[(i + half) % x.length] as Scalar
      return tape.add(
        tape.times(value, Math.cos(angle)),
        tape.times(partner, (i < half ? -1 : 1) * Math.sin(angle)),
      )
    })
  }

  #silu(x: Scalar): Scalar {
    const { tape } = this
    return tape.mul(x, tape.power(tape.add(tape.exp(tape.times(x, -1)), tape.push(1)), -1))
  }

  #apply(x: Vector, name: string): Vector {
    const weight = this.#get(name)
    return (weight[0] as Vector).map((_, j) =>
      this.tape.dot(
        x,
        weight.map((row) => row[j] as Scalar),
      ),
    )
  }

  #get = (name: string): Matrix => this.#tensors.get(`${name}.weight`) as Matrix
  #gain = (name: string): Vector => this.#get(name)[0] as Vector
}

function grid(rows: number, columns: number, at: (i: number, j: number) => Scalar): Matrix {
  return Array.from({ length: rows }, (_, i) => Array.from({ length: columns }, (_, j) => at(i, j)))
}

function sequencesOf(config: ModelConfig, ids: Uint16Array): number[][] {
  const length = config.sequenceLength + 1
  return Array.from({ length: ids.length / length }, (_, s) =>
    Array.from(ids.subarray(s * length, (s + 1) * length)),
  )
}

/** Cross entropy of every predicted token in nats. */
export function referenceLosses(
  config: ModelConfig,
  parameters: ArrayLike<number>,
  ids: Uint16Array,
): number[] {
  const model = new ReferenceModel(config, parameters)
  return sequencesOf(config, ids).flatMap((sequence) =>
    model.sequence(sequence).map(({ crossEntropy }) => model.tape.of(crossEntropy)),
  )
}

/** The likeliest id to follow `ids`. */
export function referenceNext(
  config: ModelConfig,
  parameters: ArrayLike<number>,
  ids: readonly number[],
): number {
  const model = new ReferenceModel(config, parameters)
  const logits = (model.logits(ids).at(-1) ?? []).map((logit) => model.tape.of(logit))
  return logits.indexOf(Math.max(...logits))
}

/** Mean cross entropy, and the gradient of it plus the z-loss in layout order. */
export function referenceGradient(config: ModelConfig, parameters: ArrayLike<number>, ids: Uint16Array) {
  const model = new ReferenceModel(config, parameters)
  const { tape } = model
  const tokens = sequencesOf(config, ids).flatMap((sequence) => model.sequence(sequence))
  const loss = tape.times(tape.sum(tokens.map((token) => token.crossEntropy)), 1 / tokens.length)
  const squares = tape.sum(tokens.map(({ logSumExp }) => tape.mul(logSumExp, logSumExp)))
  const total = tape.add(loss, tape.times(squares, Z_LOSS / tokens.length))
  return { loss: tape.of(loss), gradient: tape.gradient(total).slice(1, 1 + parameters.length) }
}

/** The whole job in f64: AdamW as torch.optim.AdamW and clip_grad_norm_ describe it. */
export function referenceTrain(config: ModelConfig, initial: ArrayLike<number>, job: TrainJob) {
  const parameters = Float64Array.from(initial)
  const first = new Float64Array(parameters.length)
  const second = new Float64Array(parameters.length)
  const losses: number[] = []
  const perStep = job.batchSize * (config.sequenceLength + 1)
  for (let step = 0; step < job.steps; step++) {
    const ids = job.sequences.subarray(step * perStep, (step + 1) * perStep)
    const { loss, gradient } = referenceGradient(config, parameters, ids)
    losses.push(loss)
    const clip = Math.min(1, 1 / (Math.hypot(...gradient) + 1e-6))
    const rate =
      innerLearningRate(job.firstStep + step, job.totalSteps, job.peakLearningRate) * localWarmup(step)
    for (let i = 0; i < parameters.length; i++) {
      const g = (gradient[i] as number) * clip
      const p = (parameters[i] as number) * (1 - rate / job.totalSteps)
      const m = 0.9 * (first[i] as number) + 0.1 * g
      const v = 0.99 * (second[i] as number) + 0.01 * g * g
      first[i] = m
      second[i] = v
      parameters[i] =
        p - (rate * (m / (1 - 0.9 ** (step + 1)))) / (Math.sqrt(v / (1 - 0.99 ** (step + 1))) + 1e-8)
    }
  }
  return { parameters, first, second, losses }
}
