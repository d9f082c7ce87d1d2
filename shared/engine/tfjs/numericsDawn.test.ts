import { afterAll, test } from 'vitest'
import { installDawn, NO_DAWN } from './dawn.ts'
import { numerics } from './numerics.ts'

const inChromium = 'slow on SwiftShader; numerics.browser.test.ts runs it in Chromium, with the same shaders'
const dawn = await installDawn()
if (dawn === null) test('the numbers of webgpu in Node', ({ skip }) => skip(NO_DAWN))
else {
  afterAll(() => dawn.close())
  numerics('webgpu in Node', {
    backend: 'webgpu',
    skip: {
      'sizes in multiples of 32': inChromium,
      'output alone': inChromium,
      'more than 65,535 rows of attention scores':
        'minutes on SwiftShader, nearly all in the LayerNorms; attention alone is compared',
    },
  })
}
