/**
 * Tasks in processes of their own, so that several can go on at once: TensorFlow.js's wasm backend is one to a process.
 * A script that does tasks calls `serve`; whoever has tasks calls `inProcesses`.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'

type Answer<Result> = { readonly result: Result } | { readonly failed: string }

/**
 * Takes the tasks in their order, `jobs` at a time, each as soon as a process is free. Stops at the first failure. Tasks
 * and results travel as JSON does.
 */
export async function inProcesses<Task extends object, Result>(
  script: URL,
  tasks: readonly Task[],
  jobs: number,
  onResult: (task: Task, result: Result) => Promise<void>,
): Promise<void> {
  const waiting = [...tasks]
  const children = Array.from({ length: Math.min(jobs, tasks.length) }, () => startProcess(script))
  const work = async (child: ChildProcess) => {
    for (let task = waiting.shift(); task !== undefined; task = waiting.shift()) {
      await onResult(task, await ask<Result>(child, task))
    }
  }
  try {
    await Promise.all(children.map(work))
  } finally {
    for (const child of children) child.kill()
  }
}

const startProcess = (script: URL): ChildProcess =>
  fork(fileURLToPath(script), [], { execArgv: ['--import', 'tsx'] })

/** One question at a time. */
function ask<Result>(child: ChildProcess, task: object): Promise<Result> {
  return new Promise((resolve, reject) => {
    const ended = (code: number | null) => reject(new Error(`The process of a run ended with ${code}.`))
    child.once('exit', ended)
    child.once('message', (answer: Answer<Result>) => {
      child.off('exit', ended)
      if ('result' in answer) resolve(answer.result)
      else reject(new Error(answer.failed))
    })
    child.send(task)
  })
}

/** Answers tasks with what `play` makes of them until the experiment is gone, in mid-run perhaps. */
export function serve<Task, Result>(play: (task: Task) => Promise<Result>): void {
  const answer = (message: Answer<Result>) => void process.send?.(message)
  process.on('message', (task: Task) => {
    play(task).then(
      (result) => answer({ result }),
      (error: unknown) =>
        answer({ failed: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
    )
  })
  process.on('disconnect', () => process.exit())
}
