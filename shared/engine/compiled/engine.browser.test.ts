import { engineContract } from '../contract.ts'
import { createCompiledEngine } from './createCompiledEngine.ts'

engineContract('the compiled engine in Chromium', (config) =>
  createCompiledEngine({ config, precision: 'f32' }),
)
