/**
 * The shape of the model: a decoder-only transformer with pre-norm, QK-LayerNorm, SwiGLU, rotary embedding and
 * tied embeddings (design: "Scaling Laws for DiLoCo", arXiv 2503.09799, table 3). Only numbers live here;
 * the arithmetic is the engine's, the order of the parameters is layout.ts's.
 */

export interface ModelConfig {
  /** Number of token ids, end-of-text included. */
  readonly vocabSize: number
  readonly layers: number
  readonly heads: number
  /** Width of the residual stream; heads × headDim. */
  readonly dModel: number
  readonly headDim: number
  /** Width inside SwiGLU: 8·dModel/3 rounded up to a multiple of 64. */
  readonly hidden: number
  /** Tokens a sequence predicts; a stored sequence holds one more. */
  readonly sequenceLength: number
}

export const LAYER_NORM_EPSILON = 1e-6
export const ROPE_BASE = 10_000
/** Weight of the z-loss, mean(logsumexp²) (Streaming DiLoCo, arXiv 2501.18512). */
export const Z_LOSS = 1e-4

const shape = (layers: number, heads: number, dModel: number, vocabSize: number, sequenceLength: number) =>
  ({
    vocabSize,
    layers,
    heads,
    dModel,
    headDim: dModel / heads,
    hidden: Math.ceil((8 * dModel) / 3 / 64) * 64,
    sequenceLength,
  }) satisfies ModelConfig

/** Every preset by name: layers, heads, width, vocabulary, sequence length. */
export const PRESETS = {
  nano: shape(2, 2, 64, 1_024, 64),
  micro: shape(4, 4, 128, 4_096, 128),
  mini: shape(6, 6, 384, 8_192, 512),
  '35m': shape(6, 8, 512, 32_768, 2_048),
  '90m': shape(9, 12, 768, 32_768, 2_048),
  '180m': shape(12, 16, 1_024, 32_768, 2_048),
  '330m': shape(15, 20, 1_280, 32_768, 2_048),
  '550m': shape(18, 24, 1_536, 32_768, 2_048),
  '1.3b': shape(24, 32, 2_048, 32_768, 2_048),
  '2.4b': shape(30, 40, 2_560, 32_768, 2_048),
  '4b': shape(36, 48, 3_072, 32_768, 2_048),
  '10b': shape(48, 64, 4_096, 32_768, 2_048),
} as const satisfies Record<string, ModelConfig>

export type PresetName = keyof typeof PRESETS
/** A non-empty tuple, so that zod can make an enumeration of it. */
export const PRESET_NAMES = Object.keys(PRESETS) as [PresetName, ...PresetName[]]
