/** Runs an engine of ours in a Node process of its own, as host.ts runs contestants in a browser. */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { TimedStep } from '../../../shared/engine/measure.ts'
import type { ContestantOptions, EngineName } from './contestant.ts'
import type { Counts } from './contestants.worker.ts'
import type { TimedContestant } from './host.ts'

export type OurEngine = Extract<EngineName, 'tfjs' | 'compiled'>

export type NodeRequest =
  | { kind: 'open'; engine: OurEngine; options: ContestantOptions }
  | { kind: 'step'; sequences: Uint16Array; step: number }
  | { kind: 'counts' }

export type NodeAnswer =
  | { kind: 'opened' }
  | { kind: 'step'; step: TimedStep }
  | { kind: 'counts'; counts: Counts }
  | { kind: 'failed'; message: string }

export async function openInNode(engine: OurEngine, options: ContestantOptions): Promise<TimedContestant> {
  const path = fileURLToPath(new URL('./nodeContestant.ts', import.meta.url))
  const child = fork(path, [], { execArgv: ['--import', 'tsx'], serialization: 'advanced' })
  const close = async () => void child.kill('SIGKILL') // Dawn keeps a process alive
  try {
    await ask(child, { kind: 'open', engine, options }, 'opened')
  } catch (error) {
    await close()
    throw error
  }
  return {
    step: async (sequences, step) => (await ask(child, { kind: 'step', sequences, step }, 'step')).step,
    counts: async () => (await ask(child, { kind: 'counts' }, 'counts')).counts,
    close,
  }
}

/** One question at a time. */
function ask<Kind extends NodeAnswer['kind']>(
  child: ChildProcess,
  request: NodeRequest,
  kind: Kind,
): Promise<Extract<NodeAnswer, { kind: Kind }>> {
  return new Promise((resolve, reject) => {
    const ended = (code: number | null) => reject(new Error(`The engine's process ended with ${code}.`))
    child.once('exit', ended)
    child.once('message', (answer: NodeAnswer) => {
      child.off('exit', ended)
      if (answer.kind === 'failed') reject(new Error(answer.message))
      // The child answers each kind of request with its own kind.
      else if (answer.kind === kind) resolve(answer as Extract<NodeAnswer, { kind: Kind }>)
      else reject(new Error(`internal: asked for ${kind}, got ${answer.kind}`))
    })
    child.send(request)
  })
}
