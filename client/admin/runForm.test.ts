import { describe, expect, it } from 'vitest'
import { PRESET_NAMES } from '../../shared/model/config.ts'
import { defaultRunConfig } from '../../shared/protocol/defaults.ts'
import { checkForm, estimate, formOf, type RunForm } from './runForm.ts'

const form = (changes: Partial<RunForm> = {}): RunForm => ({ ...formOf('nano'), ...changes })
const faults = (changes: Partial<RunForm>) => {
  const checked = checkForm(form(changes))
  return checked.ok ? {} : checked.faults
}

describe('the defaults', () => {
  it.each(PRESET_NAMES)('of %s pass as they stand', (preset) => {
    expect(checkForm(formOf(preset))).toEqual({ ok: true, config: defaultRunConfig(preset) })
  })
})

describe('a field that will not do', () => {
  it('is told in a sentence', () => {
    expect(faults({ innerSteps: '0' })).toEqual({ innerSteps: 'At least 1.' })
    expect(faults({ innerSteps: '9000' })).toEqual({ innerSteps: 'At most 5,000.' })
    expect(faults({ innerSteps: '2.5' })).toEqual({ innerSteps: 'A whole number is needed.' })
    expect(faults({ innerSteps: '' })).toEqual({ innerSteps: 'A number is needed.' })
    expect(faults({ innerSteps: 'many' })).toEqual({ innerSteps: 'A number is needed.' })
    expect(faults({ innerLearningRate: '0' })).toEqual({ innerLearningRate: 'More than 0.' })
    expect(faults({ name: '  ' })).toEqual({ name: 'This must not be empty.' })
    expect(faults({ seed: 'x'.repeat(41) })).toEqual({ seed: 'At most 40 characters.' })
  })
  it('is told together with every other', () => {
    expect(Object.keys(faults({ name: '', batchSize: 'x', quorum: '9' }))).toEqual([
      'name',
      'batchSize',
      'quorum',
    ])
  })
  it('may be the quorum against the replicas', () => {
    expect(faults({ quorum: '5' })).toEqual({ quorum: 'The quorum must not exceed the replicas.' })
  })
})

describe('zero-shot tasks', () => {
  it('are names with commas between', () => {
    const checked = checkForm(form({ taskNames: 'piqa,  arc_easy', tasksEvery: '5', taskExamples: '40' }))
    expect(checked.ok && checked.config.tasks).toEqual({
      every: 5,
      examples: 40,
      names: ['piqa', 'arc_easy'],
    })
    const fault = { taskNames: 'Each once, of these: hellaswag, piqa, arc_easy.' }
    for (const taskNames of ['piqa, mmlu', '', 'piqa piqa']) expect(faults({ taskNames })).toEqual(fault)
    expect(faults({ tasksEvery: '-1' })).toEqual({ tasksEvery: 'At least 0.' })
  })
})

describe('fragments', () => {
  it('divide the inner steps, and are no more than layers', () => {
    const fault = 'It must divide the inner steps, with no more parts than the model has layers.'
    expect(faults({ fragments: '2' })).toEqual({})
    expect(faults({ innerSteps: '15', fragments: '2' })).toEqual({ fragments: fault })
    expect(faults({ innerSteps: '12', fragments: '3' })).toEqual({ fragments: fault }) // nano has two
  })
})

describe('the outer learning rate', () => {
  it('is auto or a number', () => {
    const rate = (text: string) => {
      const checked = checkForm(form({ outerLearningRate: text }))
      return checked.ok ? checked.config.outerLearningRate : checked.faults.outerLearningRate
    }
    expect(rate(' Auto ')).toBe('auto')
    expect(rate('0.7')).toBe(0.7)
    expect(rate('3')).toBe('Write “auto” or a number above 0, up to 2.')
    expect(rate('')).toBe('Write “auto” or a number above 0, up to 2.')
  })
})

describe('the estimate', () => {
  it('follows the fields', () => {
    // nano: 1,024×64 embedding, 2 blocks of 64 + 4×64² + 2×32 + 64 + 3×64×192, 64 final norm.
    const parameters = 65_536 + 2 * (64 + 16_384 + 64 + 64 + 36_864) + 64
    const numbers = estimate(form({ innerSteps: '10', batchSize: '4', replicas: '3', rounds: '2' }))
    expect(numbers.parameters).toBe(parameters)
    // int8: a byte a parameter, and two for each block of 256, of which the last is short.
    expect(numbers.uploadBytes).toBe(parameters + 2 * Math.ceil(parameters / 256))
    expect(numbers.snapshotBytes).toBe(4 * parameters)
    expect(numbers.tokensPerRound).toBe(10 * 4 * 64 * 3)
    expect(numbers.tokensInAll).toBe(10 * 4 * 64 * 3 * 2)
    expect(numbers.longest).toBe(2 * 180_000)
  })
  it('is no number where a field is none', () => {
    expect(estimate(form({ innerSteps: '' })).tokensPerRound).toBeNaN()
  })
})

describe('a corpus', () => {
  const corpus = { id: 'corpus-01', vocabSize: 8_192 }
  it('goes into the config, and its vocabulary into the estimate', () => {
    expect(checkForm(form(), corpus)).toMatchObject({ ok: true, config: { corpus } })
    // nano has width 64 and 1,024 ids of its own.
    expect(estimate(form(), corpus).parameters - estimate(form()).parameters).toBe((8_192 - 1_024) * 64)
  })
})
