/**
 * The evaluation process from outside: one child of lower priority, started when there is something to do, asked one
 * thing at a time. A child that dies, or says nothing for too long, rejects what it was asked and is gone; the next
 * question starts another. What is asked when is evaluator.ts's.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { setPriority } from 'node:os'
import { fileURLToPath } from 'node:url'
import { type ErrorCode, PotluckError } from '../../shared/protocol/errors.ts'
import type { Job, Kind, Work } from './work.ts'

/** What the child says. It is ours, so its messages are not parsed. */
export type ChildMessage =
  | { readonly type: 'beat' }
  | { readonly type: 'done'; readonly result: Work[Kind]['result'] }
  | { readonly type: 'failed'; readonly code: ErrorCode; readonly message: string }

export interface ProcessOptions {
  /** Folder of the public blobs. */
  readonly blobs: string
  /** What the process may hold; it ends itself above that. */
  readonly memoryBytes: number
  /** A child that says nothing for so long hangs. */
  readonly silenceMs: number
}

/** The process is gone; asking another one may help. */
export class ProcessDied extends Error {
  override readonly name = 'ProcessDied'
}

const ENTRY = fileURLToPath(new URL('./child.js', import.meta.url))
/** Of Unix' 19 steps below normal. */
const PRIORITY = 10

export class EvaluationProcess {
  readonly #options: ProcessOptions
  #child: ChildProcess | null = null

  constructor(options: ProcessOptions) {
    this.#options = options
  }

  /** Of the child that lives; null before the first question and after a death. */
  get pid(): number | null {
    return this.#child?.pid ?? null
  }

  /**
   * One question at a time.
   * @throws ProcessDied; PotluckError with the code of what went wrong in the child.
   */
  ask<K extends Kind>(kind: K, job: Work[K]['job']): Promise<Work[K]['result']> {
    const child = this.#child ?? this.#start()
    this.#child = child
    return new Promise((resolve, reject) => {
      let silence: NodeJS.Timeout | undefined
      const listen = () => {
        clearTimeout(silence)
        silence = setTimeout(() => {
          this.kill()
          end(() => reject(new ProcessDied(`it said nothing for ${this.#options.silenceMs / 1_000} s`)))
        }, this.#options.silenceMs)
      }
      const end = (settle: () => void) => {
        clearTimeout(silence)
        child.off('message', hear).off('exit', exited).off('error', failed)
        settle()
      }
      const hear = (message: ChildMessage) => {
        if (message.type === 'beat') return listen()
        if (message.type === 'done') return end(() => resolve(message.result as Work[K]['result'])) // its question's
        if (message.code === 'too-large') this.kill() // what it holds is freed with it
        end(() => reject(new PotluckError(message.code, message.message, 500)))
      }
      const exited = (code: number | null, signal: string | null) =>
        end(() => reject(new ProcessDied(`it ended with ${signal ?? `code ${code}`}`)))
      const failed = (error: Error) => end(() => reject(new ProcessDied(error.message)))
      child.on('message', hear).on('exit', exited).on('error', failed)
      listen()
      const sent: Job = { kind, blobs: this.#options.blobs, ...job } as Job // K's own job
      child.send(sent, (error) => error && failed(error))
    })
  }

  /** At once, whatever it does. */
  kill(): void {
    this.#child?.kill('SIGKILL')
    this.#child = null
  }

  #start(): ChildProcess {
    const { memoryBytes } = this.#options
    const child = fork(ENTRY, [String(memoryBytes)], {
      execArgv: [`--max-old-space-size=${Math.floor(memoryBytes / 2 ** 20)}`],
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    const gone = () => {
      if (this.#child === child) this.#child = null
    }
    child.once('exit', gone)
    child.once('error', gone)
    if (child.pid !== undefined) lowerPriority(child.pid)
    return child
  }
}

/** Where the system does not let us, it runs as any other. */
function lowerPriority(pid: number): void {
  try {
    setPriority(pid, PRIORITY)
  } catch {}
}
