/** The model of a run: its preset's shape with the vocabulary of its corpus. Both ends ask here and nowhere else. */
import { type ModelConfig, PRESETS } from '../model/config.ts'
import type { RunConfig } from './run.ts'

export function modelOf({ preset, corpus }: Pick<RunConfig, 'preset' | 'corpus'>): ModelConfig {
  const shape = PRESETS[preset]
  return corpus === null ? shape : { ...shape, vocabSize: corpus.vocabSize }
}
