import { afterAll, test } from 'vitest'
import { numerics } from '../numerics.ts'
import { installDawn, NO_DAWN } from './dawn.ts'
import { tfjsSubject } from './numericsSubject.ts'

const inChromium = 'slow on SwiftShader; numerics.browser.test.ts runs it in Chromium, with the same shaders'
/** Every row of a reduction is a workgroup, which SwiftShader is slow to begin. */
const large = process.env.TEST_LARGE
  ? {}
  : { 'attention alone': 'a minute on SwiftShader: set TEST_LARGE=1. wasm and webgl have it in Chromium' }
const dawn = await installDawn()
if (dawn === null) test('the numbers of webgpu in Node', ({ skip }) => skip(NO_DAWN))
else {
  afterAll(() => dawn.close())
  numerics('webgpu in Node', {
    ...tfjsSubject('webgpu'),
    skip: {
      'output alone': inChromium,
      'sizes in multiples of 32': inChromium,
      'odd sizes and a prime vocabulary': inChromium,
      'more than 65,535 rows of attention scores': 'slow; attention alone is compared at as many rows',
      ...large,
    },
  })
}
