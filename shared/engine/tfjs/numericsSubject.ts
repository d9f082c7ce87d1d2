/** The TensorFlow.js engine and its parts on one backend, as ../numerics.ts tests them. */
import * as tf from '@tensorflow/tfjs-core'
import { parameterLayout } from '../../model/layout.ts'
import type { Backend } from '../engine.ts'
import type { Subject } from '../numerics.ts'
import type { Matrix } from '../referenceMatrix.ts'
import { attention, attentionBackward, causalMask } from './attention.ts'
import { openBackend, type WasmPaths } from './backend.ts'
import { createTfjsEngine, KERNELS } from './createTfjsEngine.ts'
import type { Heads } from './kernels.ts'
import { lossAndGradients } from './loss.ts'
import { disposeConstants, hiddenStates, makeConstants } from './model.ts'
import { named } from './parameters.ts'

/** `wasmPaths` is read for wasm only. */
export function tfjsSubject(backend: Backend, wasmPaths?: WasmPaths): Subject {
  const kernels = KERNELS[backend]
  const use = async () => (await openBackend(backend, wasmPaths)).use()
  return {
    open: (config) => createTfjsEngine({ backend, config, wasmPaths }),

    /** The engine has no method for them, so they are put together from its parts as infer.ts does. */
    async logits(config, parameters, ids) {
      await use()
      const constants = makeConstants(config, kernels)
      const all = tf.tidy(() => {
        const tensors = parameterLayout(config).map(({ shape, offset, size }) =>
          tf.tensor(parameters.slice(offset, offset + size), [...shape], 'float32'),
        )
        const hidden = hiddenStates(tensors, tf.tensor1d([...ids], 'int32'), constants) // [N, d]
        return kernels.productWithTransposed(hidden, named(tensors, config).embedding) // [N, V]
      })
      const values = await all.data<'float32'>()
      all.dispose()
      disposeConstants(constants)
      return values
    },

    async attention({ heads, length, dim, q, k, v, dMerged }) {
      await use()
      const got = tf.tidy(() => {
        const toTensor = ({ values }: Matrix) => tf.tensor3d(Float32Array.from(values), [heads, length, dim])
        const scale = 1 / Math.sqrt(dim) // the engine's queries carry it
        const inputs: Heads = [tf.mul(toTensor(q), scale), toTensor(k), toTensor(v)]
        const mask = causalMask(length)
        const { out, probabilities } = attention(kernels, inputs, mask)
        const [dq, dk, dv] = attentionBackward(kernels, toTensor(dMerged), inputs, mask, probabilities)
        return { merged: out, dq: tf.mul<tf.Tensor3D>(dq, scale), dk, dv }
      })
      const read = (tensor: tf.Tensor) => tensor.data<'float32'>()
      const [merged, dq, dk, dv] = [
        await read(got.merged),
        await read(got.dq),
        await read(got.dk),
        await read(got.dv),
      ]
      tf.dispose(got)
      return { merged, dq, dk, dv }
    },

    async output({ x, embedding, targets }) {
      await use()
      const got = tf.tidy(() => {
        const toTensor = (m: Matrix) => tf.tensor2d(Float32Array.from(m.values), [m.rows, m.columns])
        const ids = tf.tensor1d([...targets], 'int32')
        return { ...lossAndGradients(kernels, toTensor(x), toTensor(embedding), ids, x.rows) }
      })
      const [loss = Number.NaN] = await got.loss.data()
      const [dx, dEmbedding] = [await got.dx.data<'float32'>(), await got.dEmbedding.data<'float32'>()]
      tf.dispose([got.loss, got.dx, got.dEmbedding])
      return { loss, dx, dEmbedding }
    },
  }
}
