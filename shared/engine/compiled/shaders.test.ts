/** Every preset's shaders compile, on Dawn's null backend, which checks them and computes nothing. */
import { afterAll, expect, test } from 'vitest'
import { PRESET_NAMES, PRESETS } from '../../model/config.ts'
import { openDevice } from '../gpuDevice.ts'
import { installDawn, NO_DAWN } from '../tfjs/dawn.ts'
import { cpuChoices, gpuChoices } from './choices.ts'
import { pipelinesOf } from './executor.ts'
import { makeState } from './state.ts'
import { evaluationPlan, nextPlan, trainingPlan } from './step.ts'

const dawn = await installDawn(['backend=null'])
if (dawn === null) test('shaders of every preset', ({ skip }) => skip(NO_DAWN))
else {
  const open = await openDevice()
  afterAll(() => {
    open.release()
    dawn.close()
  })

  test.each(PRESET_NAMES)('all shaders of %s compile', async (preset) => {
    const state = makeState(PRESETS[preset])
    const { f16, subgroups } = open.features
    expect({ f16, subgroups }).toEqual({ f16: true, subgroups: true })
    const variants = [
      gpuChoices(),
      cpuChoices(),
      { ...gpuChoices(), states: 'f16' as const },
      { ...gpuChoices(), states: 'f16' as const, subgroups },
      { ...cpuChoices(), states: 'f16' as const },
    ]
    for (const choices of variants) {
      const shape = { state, choices, sequences: 1 }
      for (const plan of [trainingPlan(shape), evaluationPlan(shape), nextPlan(shape)])
        expect((await open.guard(() => pipelinesOf(open, plan))).size).toBeGreaterThan(0)
    }
  })
}
