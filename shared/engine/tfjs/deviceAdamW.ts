/**
 * AdamW in TensorFlow.js operations, right on any backend and used where there is nothing better (webgl); adamw.ts
 * has the recipe and its siblings. Parameters and moments are kept flat, many tensors in one, so that an update is
 * about twenty operations for the whole model instead of sixteen for each of its tensors; the parameter tensors are
 * slices of the flat one. Nothing is read back: the clipping factor stays on the device.
 */
import * as tf from '@tensorflow/tfjs-core'
import type { ParameterEntry } from '../../model/layout.ts'
import {
  BETA_1,
  BETA_2,
  EPSILON,
  LONGEST_GRADIENT,
  NORM_EPSILON,
  type Piece,
  piecesOf,
  type UpdateNumbers,
  updateNumbers,
} from '../adamw.ts'
import { MOST_FLAT } from './chunks.ts'
import type { Optimiser } from './optimiser.ts'

/** A contiguous part of the layout and its flat tensors. */
interface Group {
  readonly entries: readonly ParameterEntry[]
  readonly offset: number
  readonly size: number
  values: tf.Tensor1D
  first: tf.Tensor1D
  second: tf.Tensor1D
}

export function deviceAdamW(layout: readonly ParameterEntry[], mostElements = MOST_FLAT): Optimiser {
  const groups = makeGroups(layout, mostElements)
  const size = groups.reduce((sum, group) => sum + group.size, 0)
  let tensors: tf.Tensor[] = []
  let updates = 0
  const slice = () => {
    tf.dispose(tensors)
    tensors = groups.flatMap((group) =>
      group.entries.map((entry) => tf.keep(tf.tidy(() => sliceOf(group, entry)))),
    )
  }
  slice()
  return {
    size,
    tensors: () => tensors,
    updates: () => updates,
    step(gradients, learningRate, weightDecay) {
      const numbers = updateNumbers(learningRate, weightDecay, ++updates)
      const norm = tf.tidy(() => {
        const flats = groups.map(({ entries }) =>
          flatten(gradients, layout.indexOf(firstOf(entries)), entries.length),
        )
        const length = lengthOf(flats)
        const scale = tf.minimum(1, tf.div(LONGEST_GRADIENT, tf.add(length, NORM_EPSILON)))
        groups.forEach((group, i) => {
          update(group, flats[i] as tf.Tensor1D, scale, numbers) // one for every group
        })
        return length
      })
      slice()
      return norm
    },
    setParameters(from, ranges) {
      for (const [i, group] of groups.entries()) {
        const pieces = piecesOf(groups, ranges).filter(({ tensor }) => tensor === i)
        if (pieces.length > 0) replace(group, 'values', patched(group.values, pieces, from))
      }
      slice()
    },
    async parameters(ranges) {
      const all = await gather(groups, 'values', size)
      const values = new Float32Array(ranges.reduce((sum, range) => sum + range.size, 0))
      let at = 0
      for (const range of ranges) {
        values.set(all.subarray(range.offset, range.offset + range.size), at)
        at += range.size
      }
      return values
    },
    setState(state) {
      for (const group of groups) {
        const part = (all: Float32Array) => tf.tensor1d(all.slice(group.offset, group.offset + group.size))
        replace(group, 'first', part(state.firstMoment))
        replace(group, 'second', part(state.secondMoment))
      }
      updates = state.updates
    },
    async state() {
      const at = updates
      const [firstMoment, secondMoment] = await Promise.all([
        gather(groups, 'first', size),
        gather(groups, 'second', size),
      ])
      return { firstMoment, secondMoment, updates: at }
    },
    dispose() {
      tf.dispose(tensors)
      for (const group of groups) tf.dispose([group.values, group.first, group.second])
    },
  }
}

type Part = 'values' | 'first' | 'second'

function makeGroups(layout: readonly ParameterEntry[], mostElements: number): Group[] {
  const lists: ParameterEntry[][] = []
  let room = 0
  for (const entry of layout) {
    if (entry.size > room || lists.length === 0) {
      lists.push([])
      room = mostElements
    }
    lists.at(-1)?.push(entry)
    room -= entry.size
  }
  return lists.map((entries) => {
    const size = entries.reduce((sum, entry) => sum + entry.size, 0)
    // Three tensors, not one three times: each is disposed on its own.
    return {
      entries,
      offset: firstOf(entries).offset,
      size,
      values: tf.zeros([size]),
      first: tf.zeros([size]),
      second: tf.zeros([size]),
    }
  })
}

function firstOf(entries: readonly ParameterEntry[]): ParameterEntry {
  const [first] = entries
  if (!first) throw new Error('internal: an empty group')
  return first
}

function sliceOf(group: Group, { offset, size, shape }: ParameterEntry): tf.Tensor {
  return tf.reshape(tf.slice(group.values, offset - group.offset, size), [...shape])
}

function flatten(gradients: readonly tf.Tensor[], from: number, count: number): tf.Tensor1D {
  return tf.concat(
    gradients.slice(from, from + count).map((gradient) => tf.reshape<tf.Rank.R1>(gradient, [-1])),
  )
}

/** The norm of them all, a scalar that stays on the device. */
function lengthOf(flats: readonly tf.Tensor1D[]): tf.Scalar {
  const squares = flats.map((flat) => tf.tidy(() => tf.sum<tf.Scalar>(tf.square(flat))))
  // Not AddN, which is silently wrong above seven inputs on webgpu.
  return tf.sqrt<tf.Scalar>(squares.reduce((a, b) => tf.add(a, b)))
}

/** Each tidy frees what it is done with: a group's update takes eight times its memory, not eighteen times. */
function update(
  group: Group,
  unscaled: tf.Tensor1D,
  scale: tf.Tensor,
  { keep, rate, unbias }: UpdateNumbers,
): void {
  const { values, first, second } = tf.tidy(() => {
    const gradient = tf.mul<tf.Tensor1D>(unscaled, scale)
    const first = tf.tidy(() => tf.add(tf.mul(group.first, BETA_1), tf.mul(gradient, 1 - BETA_1)))
    const second = tf.tidy(() =>
      tf.add(tf.mul(group.second, BETA_2), tf.mul(tf.square(gradient), 1 - BETA_2)),
    )
    const move = tf.tidy(() => {
      const deviation = tf.sqrt(tf.mul(second, unbias))
      return tf.div(tf.mul(first, rate), tf.add(deviation, EPSILON))
    })
    return { values: tf.sub(tf.mul(group.values, keep), move), first, second }
  })
  tf.dispose([group.values, group.first, group.second])
  Object.assign(group, { values: tf.keep(values), first: tf.keep(first), second: tf.keep(second) })
}

function replace(group: Group, part: Part, by: tf.Tensor1D): void {
  group[part].dispose()
  group[part] = tf.keep(by)
}

/** A new tensor: the old one with some pieces of it taken from `values`. */
function patched(old: tf.Tensor1D, pieces: readonly Piece[], values: Float32Array): tf.Tensor1D {
  return tf.tidy(() => {
    const parts: tf.Tensor1D[] = []
    let done = 0
    const keepTo = (end: number) => {
      if (end > done) parts.push(tf.slice(old, done, end - done))
      done = end
    }
    for (const { from, size, at } of pieces) {
      keepTo(from)
      parts.push(tf.tensor1d(values.slice(at, at + size)))
      done = from + size
    }
    keepTo(old.size)
    return tf.concat1d(parts)
  })
}

/** Clones are read, because a step may dispose the originals before the bytes arrive. */
async function gather(
  groups: readonly Group[],
  part: Part,
  size: number,
): Promise<Float32Array<ArrayBuffer>> {
  const all = new Float32Array(size)
  const clones = groups.map((group) => tf.clone(group[part]))
  try {
    // GPU → CPU
    for (const [i, group] of groups.entries())
      all.set((await clones[i]?.data<'float32'>()) ?? [], group.offset)
  } finally {
    tf.dispose(clones)
  }
  return all
}
