import { afterAll, test } from 'vitest'
import { engineContract } from '../contract.ts'
import { installDawn, NO_DAWN } from '../tfjs/dawn.ts'
import { createCompiledEngine } from './createCompiledEngine.ts'

const dawn = await installDawn()
if (dawn === null) test('the compiled engine in Node', ({ skip }) => skip(NO_DAWN))
else {
  afterAll(() => dawn.close())
  engineContract('the compiled engine in Node', (config) =>
    createCompiledEngine({ config, precision: 'f32' }),
  )
}
