/** config.json beside a checkpoint's weights: the architecture in plain fields, named as Hugging Face names them where it can. */
import { LAYER_NORM_EPSILON, ROPE_BASE } from '../../shared/model/config.ts'
import { modelOf } from '../../shared/protocol/modelOf.ts'
import type { CheckpointRecord, RunRecord } from '../store/metadata.ts'

/** @param endOfText the tokenizer's. */
export function readerConfig(
  { id, config }: Pick<RunRecord, 'id' | 'config'>,
  checkpoint: CheckpointRecord,
  endOfText: number,
) {
  const model = modelOf(config)
  const { round, valLoss, bitsPerByte, trainLoss, fragments, at } = checkpoint
  return {
    model_type: 'potluck',
    vocab_size: model.vocabSize,
    hidden_size: model.dModel,
    num_hidden_layers: model.layers,
    num_attention_heads: model.heads,
    num_key_value_heads: model.heads,
    head_dim: model.headDim,
    intermediate_size: model.hidden,
    max_position_embeddings: model.sequenceLength,
    hidden_act: 'silu',
    mlp: 'down_proj(silu(gate_proj(x)) * up_proj(x))',
    norm: 'LayerNorm with a gain and no bias, before attention, before the MLP, and at the end',
    layer_norm_eps: LAYER_NORM_EPSILON,
    qk_norm: 'LayerNorm of every head’s queries and keys, one gain for all heads, before the rotation',
    rope_theta: ROPE_BASE,
    rope: 'all dimensions of a head, first half with second half',
    attention_bias: false,
    mlp_bias: false,
    tie_word_embeddings: true,
    matrix_layout: '[inputs, outputs]: y = x W',
    torch_dtype: 'float32',
    bos_token_id: endOfText,
    eos_token_id: endOfText,
    potluck: {
      run: id,
      round,
      validation_loss: valLoss,
      bits_per_byte: bitsPerByte,
      training_loss: trainLoss,
      weights_sha256: fragments.map(({ weights }) => weights),
      closed_at: new Date(at).toISOString(),
      configuration: config,
    },
  }
}
