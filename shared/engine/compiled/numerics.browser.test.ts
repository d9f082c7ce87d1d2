import { numerics } from '../numerics.ts'
import { compiledSubject } from './numericsSubject.ts'

const inNode = 'slow on SwiftShader; numerics.test.ts runs it in Node, with the same shaders'
numerics('the compiled engine in Chromium', {
  ...compiledSubject(),
  skip: {
    'a batch in micro-batches': inNode,
    'one sequence of one token': inNode,
    'a vocabulary of 32,768': inNode,
    'attention alone': inNode,
    'output alone': inNode,
    'more than 65,535 rows of attention scores': inNode,
  },
})
