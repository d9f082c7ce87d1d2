/** Runs in processes of their own, so that several can go on at once: TensorFlow.js's wasm backend is one to a process. */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { CorpusPlace } from './data.ts'
import type { RunResult } from './run.ts'
import type { Cell, Settings } from './settings.ts'

export interface RunTask {
  readonly place: CorpusPlace
  readonly settings: Settings
  readonly cell: Cell
  readonly seed: string
}

export type RunAnswer = { readonly result: RunResult } | { readonly failed: string }

/** Takes the tasks in their order, `jobs` at a time, each as soon as a process is free. Stops at the first failure. */
export async function runAll(
  tasks: readonly RunTask[],
  jobs: number,
  onResult: (task: RunTask, result: RunResult) => Promise<void>,
): Promise<void> {
  const waiting = [...tasks]
  const children = Array.from({ length: Math.min(jobs, tasks.length) }, startProcess)
  const work = async (child: ChildProcess) => {
    for (let task = waiting.shift(); task !== undefined; task = waiting.shift()) {
      await onResult(task, await ask(child, task))
    }
  }
  try {
    await Promise.all(children.map(work))
  } finally {
    for (const child of children) child.kill()
  }
}

function startProcess(): ChildProcess {
  const path = fileURLToPath(new URL('./runProcess.ts', import.meta.url))
  return fork(path, [], { execArgv: ['--import', 'tsx'] })
}

/** One question at a time. */
function ask(child: ChildProcess, task: RunTask): Promise<RunResult> {
  return new Promise((resolve, reject) => {
    const ended = (code: number | null) => reject(new Error(`The process of a run ended with ${code}.`))
    child.once('exit', ended)
    child.once('message', (answer: RunAnswer) => {
      child.off('exit', ended)
      if ('result' in answer) resolve(answer.result)
      else reject(new Error(answer.failed))
    })
    child.send(task)
  })
}
