/** TensorFlow.js tensors over the compiled engine's parameters, on the device that both share. */
import * as tf from '@tensorflow/tfjs-core'
import { openBackend } from './backend.ts'

/**
 * One flat f32 tensor over each buffer, without a copy: it sees what is written to the buffer later. The buffer stays its
 * owner's; disposing the tensor leaves it alone.
 * @throws EngineError `engine/backend-missing`
 */
export async function tensorsOn(buffers: readonly GPUBuffer[]): Promise<tf.Tensor1D[]> {
  const { use } = await openBackend('webgpu')
  use()
  return buffers.map((buffer) => tf.tensor({ buffer, zeroCopy: true }, [buffer.size / 4], 'float32'))
}
