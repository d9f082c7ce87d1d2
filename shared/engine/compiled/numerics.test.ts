import { afterAll, test } from 'vitest'
import { numerics } from '../numerics.ts'
import { installDawn, NO_DAWN } from '../tfjs/dawn.ts'
import { openDevice } from './device.ts'
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
}
