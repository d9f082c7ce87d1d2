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
  const crew = new Crew<Task, Result>(script, Math.min(jobs, tasks.length))
  try {
    await Promise.all(tasks.map(async (task) => onResult(task, await crew.do(task))))
  } finally {
    crew.dismiss()
  }
}

/** Processes that take tasks as they come, first come first served. They start with the first task. */
export class Crew<Task extends object, Result> {
  readonly #script: URL
  readonly #jobs: number
  readonly #idle: ChildProcess[] = []
  readonly #all: ChildProcess[] = []
  readonly #waiting: { task: Task; resolve: (result: Result) => void; reject: (error: unknown) => void }[] =
    []
  #dismissed = false

  constructor(script: URL, jobs: number) {
    this.#script = script
    this.#jobs = jobs
  }

  /** @throws Error when the task failed, its process ended or the crew was dismissed */
  do(task: Task): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ task, resolve, reject })
      this.#next()
    })
  }

  /** Ends all processes, whatever they are at. */
  dismiss(): void {
    this.#dismissed = true
    for (const { reject } of this.#waiting.splice(0)) reject(new Error('The experiment has ended.'))
    for (const child of this.#all) child.kill()
  }

  #next(): void {
    if (this.#dismissed || this.#waiting.length === 0) return
    const child = this.#idle.pop() ?? this.#start()
    const waiting = child && this.#waiting.shift()
    if (!child || !waiting) return
    ask<Result>(child, waiting.task)
      .then(waiting.resolve, (error: unknown) => {
        waiting.reject(error)
        if (!this.#dismissed) this.dismiss()
      })
      .finally(() => {
        this.#idle.push(child)
        this.#next()
      })
  }

  #start(): ChildProcess | null {
    if (this.#all.length >= this.#jobs) return null
    const child = startProcess(this.#script)
    this.#all.push(child)
    return child
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
