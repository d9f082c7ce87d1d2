/** The door to the evaluation thread. One evaluation at a time; rounds go on meanwhile. */
import { Piscina } from 'piscina'
import type { Evaluated } from '../store/metadata.ts'
import type { EvaluationTask } from './tasks.ts'

export interface Evaluator {
  evaluate(task: Omit<EvaluationTask, 'blobs'>): Promise<Evaluated>
  close(): Promise<void>
}

export function startEvaluator(blobs: string): Evaluator {
  const thread = new Piscina({
    filename: new URL('./thread.js', import.meta.url).href,
    execArgv: [], // flags of this process stay out of the thread; thread.js loads what it needs
    maxThreads: 1,
    idleTimeout: Number.POSITIVE_INFINITY, // the thread keeps the engine
  })
  return {
    evaluate: (task) => thread.run({ blobs, ...task } satisfies EvaluationTask, { name: 'evaluate' }),
    close: () => thread.destroy(),
  }
}
