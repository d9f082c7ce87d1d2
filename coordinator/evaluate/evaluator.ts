/** The door to the evaluation thread. One evaluation at a time; rounds go on meanwhile. */
import type { Evaluated } from '../store/metadata.ts'
import { startThread } from '../threads.ts'
import type { EvaluationTask } from './tasks.ts'

export interface Evaluator {
  evaluate(task: Omit<EvaluationTask, 'blobs'>): Promise<Evaluated>
  close(): Promise<void>
}

export function startEvaluator(blobs: string): Evaluator {
  const thread = startThread(new URL('./thread.js', import.meta.url))
  return {
    evaluate: (task) => thread.run({ blobs, ...task } satisfies EvaluationTask, { name: 'evaluate' }),
    close: () => thread.destroy(),
  }
}
