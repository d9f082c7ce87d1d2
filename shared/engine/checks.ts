/** Border checks of the engine: what comes in is either right or refused as `engine/bad-job`. */
import type { ModelConfig } from '../model/config.ts'
import type { ParameterRange } from '../model/layout.ts'
import { EngineError, type TrainJob } from './engine.ts'

export const badJob = (message: string) => new EngineError('engine/bad-job', message)

export function checkLength(what: string, got: number, wanted: number): void {
  if (got !== wanted) throw badJob(`Expected ${wanted} ${what}, got ${got}.`)
}

export function checkJob(job: TrainJob, config: ModelConfig): void {
  const wholePositive = { steps: job.steps, batchSize: job.batchSize, totalSteps: job.totalSteps }
  for (const [name, value] of Object.entries(wholePositive)) {
    if (!Number.isInteger(value) || value < 1)
      throw badJob(`${name} is ${value}, not a whole number above 0.`)
  }
  const { microBatch = job.batchSize } = job
  if (!(Number.isInteger(job.batchSize / microBatch) && Number.isInteger(microBatch) && microBatch > 0))
    throw badJob(`microBatch is ${microBatch}, which does not divide the batch of ${job.batchSize}.`)
  if (!Number.isInteger(job.firstStep) || job.firstStep < 0) throw badJob(`firstStep is ${job.firstStep}.`)
  if (!Number.isFinite(job.peakLearningRate)) throw badJob(`peakLearningRate is ${job.peakLearningRate}.`)
  checkLength('token ids', job.sequences.length, job.steps * job.batchSize * (config.sequenceLength + 1))
  checkIds(job.sequences, config)
}

/** The number of elements. */
export function checkRanges(ranges: readonly ParameterRange[], count: number): number {
  for (const { offset, size } of ranges) {
    if (
      !(
        Number.isInteger(offset) &&
        Number.isInteger(size) &&
        offset >= 0 &&
        size > 0 &&
        offset + size <= count
      )
    )
      throw badJob(`Elements ${offset} to ${offset + size} are not among the ${count} parameters.`)
  }
  return ranges.reduce((sum, range) => sum + range.size, 0)
}

/** The number of sequences. */
export function checkSequences(sequences: Uint16Array, config: ModelConfig): number {
  const count = sequences.length / (config.sequenceLength + 1)
  if (!Number.isInteger(count))
    throw badJob(`${sequences.length} ids are no whole sequences of ${config.sequenceLength + 1}.`)
  checkIds(sequences, config)
  return count
}

/** An id outside the vocabulary would read memory that is not the embedding's. */
export function checkIds(ids: ArrayLike<number>, { vocabSize }: ModelConfig): void {
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i]
    if (id === undefined || !(id >= 0 && id < vocabSize)) {
      throw badJob(`Token id ${id} at index ${i} is outside the vocabulary of ${vocabSize}.`)
    }
  }
}
