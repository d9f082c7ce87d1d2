import { afterAll, test } from 'vitest'
import { openDevice } from '../gpuDevice.ts'
import { numerics } from '../numerics.ts'
import { installDawn, NO_DAWN } from '../tfjs/dawn.ts'
import { cpuChoices, gpuChoices } from './choices.ts'
import { compiledSubject } from './numericsSubject.ts'

const dawn = await installDawn()
if (dawn === null) test('the numbers of the compiled engine in Node', ({ skip }) => skip(NO_DAWN))
else {
  const open = await openDevice() // held, so that all engines share its shaders
  afterAll(() => {
    open.release()
    dawn.close()
  })
  numerics('the compiled engine in Node', compiledSubject())

  // SwiftShader has no f16: the same kernels with states that are rounded to it in f32 memory.
  const inF32 = 'its sums are in f32 whatever the states are, and tested above'
  numerics('the compiled engine with states as f16 would round them', {
    ...compiledSubject({ ...cpuChoices(), states: 'rounded' }),
    skip: { 'output alone': inF32, 'more than 65,535 rows of attention scores': inF32 },
  })

  if (open.features.f16) {
    numerics('the compiled engine with states in f16', {
      ...compiledSubject({ ...gpuChoices(), states: 'f16', subgroups: open.features.subgroups }),
      skip: { 'attention alone': inF32, 'output alone': inF32 },
    })
  } else
    test('the numbers of the compiled engine with states in f16', ({ skip }) =>
      skip('This driver has no shader-f16: VK_ICD_FILENAMES=/path/to/driver_icd.json names another.'))
}
