/**
 * Every state of the tab in words: icon, word, one sentence, and what is counted down to. Pure, so that each
 * state and each reason to wait has a test.
 */
import type { Backend } from '../../shared/engine/engine.ts'
import { modelOf } from '../../shared/protocol/modelOf.ts'
import type { RunConfig, RunView, WaitReason } from '../../shared/protocol/run.ts'
import type { SwarmState, SwarmView } from '../swarm/view.ts'
import { bytesOf, clock, compact, countdown, duration, integer, tokensPerSecond } from '../ui/format.ts'
import type { IconName } from '../ui/Icon.tsx'
import type { Tone } from '../ui/parts.tsx'
import { strings } from '../ui/strings.ts'

export interface StateText {
  readonly icon: IconName
  readonly tone: Tone
  /** For the title, where no icon can be drawn. */
  readonly symbol: string
  readonly word: string
  readonly text: string
  /** The person has to do something, or cannot go on: spoken at once. */
  readonly urgent: boolean
  /** The next event, on this device's clock. */
  readonly next: { readonly label: string; readonly at: number } | null
}

/** What a sentence needs besides the state. Times are on this device's clock. */
export interface Scene {
  readonly run: RunView | null
  readonly backend: Backend | null
  readonly finishing: boolean
  readonly now: number
  /** When the round under way closes at the latest. */
  readonly deadlineAt: number | null
}

const words = strings.volunteer

const LOOKS = {
  ok: { icon: 'check', tone: 'ok', symbol: '✓' },
  working: { icon: 'working', tone: 'info', symbol: '↻' },
  paused: { icon: 'pause', tone: 'neutral', symbol: '⏸' },
  waiting: { icon: 'wait', tone: 'neutral', symbol: '○' },
  offline: { icon: 'offline', tone: 'neutral', symbol: '○' },
  late: { icon: 'late', tone: 'warn', symbol: '!' },
  refused: { icon: 'cross', tone: 'danger', symbol: '×' },
} as const satisfies Record<string, Pick<StateText, 'icon' | 'tone' | 'symbol'>>

const tell = (
  look: keyof typeof LOOKS,
  word: string,
  text: string,
  next: StateText['next'] = null,
): StateText => ({ ...LOOKS[look], word, text, next, urgent: false })

const tellUrgently = (look: keyof typeof LOOKS, word: string, text: string): StateText => ({
  ...tell(look, word, text),
  urgent: true,
})

/** `GPU`, `CPU`, or `device` while no backend is chosen. */
export const deviceWord = (backend: Backend | null) =>
  backend === null ? words.device : strings.hardware[backend]

export const tokensPerStep = (config: RunConfig) => config.batchSize * modelOf(config).sequenceLength

const closesAt = (scene: Scene): StateText['next'] =>
  scene.deadlineAt === null ? null : { label: words.running.nextRoundEnds, at: scene.deadlineAt }

/** Milliseconds of training left in this lease at the present speed; null when unknown. */
export function trainingLeft(
  state: Extract<SwarmState, { kind: 'training' }>,
  run: RunView | null,
): number | null {
  if (run === null || state.tokensPerSecond <= 0) return null
  return ((state.steps - state.step) * tokensPerStep(run.config) * 1_000) / state.tokensPerSecond
}

function trainingText(state: Extract<SwarmState, { kind: 'training' }>, scene: Scene): StateText {
  const { training } = words.states
  const round = integer(state.round)
  if (scene.finishing) {
    const left = trainingLeft(state, scene.run)
    const text = left === null ? training.finishingUnknown(round) : training.finishing(round, duration(left))
    return tell('working', training.finishingWord, text, closesAt(scene))
  }
  const text = training.text({
    step: integer(state.step),
    steps: integer(state.steps),
    round,
    rate: tokensPerSecond(state.tokensPerSecond > 0 ? state.tokensPerSecond : null),
  })
  return tell('working', training.word, text, closesAt(scene))
}

function gatheringText({ run, backend }: Scene): string {
  if (run === null) return words.waiting.noRun
  const missing = run.config.quorum - run.present
  if (missing <= 0) return words.waiting.gathered
  return words.waiting.gathering(
    missing,
    integer(run.config.quorum),
    integer(run.present),
    deviceWord(backend),
  )
}

function contributedText({ run, deadlineAt }: Scene): string {
  if (run === null) return words.waiting.contributed(strings.unknown)
  const round = integer(run.round)
  const others = run.config.replicas - run.accepted
  if (others <= 0) return words.waiting.contributed(round)
  return deadlineAt === null
    ? words.waiting.contributedFor(round, others)
    : words.waiting.contributedUntil(round, others, clock(deadlineAt))
}

function roundFullText({ run, deadlineAt, now }: Scene): string {
  const round = integer(run?.round)
  if (run !== null && !makesRoom(run)) return words.waiting.roundFullInLine(round)
  if (deadlineAt === null || deadlineAt <= now) return words.waiting.roundFull(round)
  return words.waiting.roundFullIn(round, duration(deadlineAt - now))
}

/** Whether all who wait have a place in the next round: with overlap those who train keep theirs. */
const makesRoom = ({ config, present }: RunView): boolean => !config.overlap && present <= 2 * config.replicas

function waitingText(reason: WaitReason, scene: Scene): StateText {
  const { waiting } = words
  const device = deviceWord(scene.backend)
  switch (reason) {
    case 'no-run':
      return tell('waiting', waiting.word, waiting.noRun)
    case 'preparing':
      return tell('waiting', waiting.word, waiting.preparing)
    case 'not-started':
      return tell('waiting', waiting.word, waiting.notStarted(device))
    case 'gathering':
      return tell('waiting', waiting.word, gatheringText(scene))
    case 'round-full':
      return tell('waiting', waiting.word, roundFullText(scene), closesAt(scene))
    case 'contributed':
      return tell('ok', waiting.word, contributedText(scene), closesAt(scene))
    case 'set-aside':
      return tell('late', waiting.word, waiting.setAside(integer(scene.run?.round)), closesAt(scene))
    case 'merging':
      return tell('waiting', waiting.word, waiting.merging(integer(scene.run?.round)))
    case 'paused':
      return tell('paused', waiting.word, waiting.paused(device))
    case 'completed':
      return tell('ok', waiting.completedWord, completedText(scene.run))
    case 'ended':
      return tell('ok', waiting.endedWord, waiting.ended(device))
    case 'failed':
      return tell('late', waiting.failedWord, failedText(scene.run))
    default:
      return reason satisfies never
  }
}

const completedText = (run: RunView | null) =>
  words.waiting.completed(compact(run?.tokens), run?.contributors ?? 0)

const failedText = (run: RunView | null) =>
  run?.problem == null ? words.waiting.failedUnknown : words.waiting.failed(run.problem)

function connectingText(state: Extract<SwarmState, { kind: 'connecting' }>, now: number): StateText {
  const { connecting } = words.states
  const attempt = integer(state.attempt)
  if (state.retryAt === null) {
    const text = state.attempt > 1 ? connecting.retryNow(attempt) : connecting.text
    return tell('offline', connecting.word, text)
  }
  const wait = duration(Math.max(1_000, state.retryAt - now))
  return tell('offline', connecting.word, connecting.retry(wait, attempt), {
    label: words.running.nextTry,
    at: state.retryAt,
  })
}

function pausedText(heldLease: boolean, deadlineAt: number | null): string {
  const { paused } = words.states
  if (!heldLease) return paused.free
  return deadlineAt === null ? paused.heldOpen : paused.held(clock(deadlineAt))
}

function engineLostText({
  backend,
  next,
  restarts,
}: Extract<SwarmState, { kind: 'engine-lost' }>): StateText {
  const { word, ...texts } = words.states['engine-lost']
  if (next === backend) return tell('late', word, texts.text(strings.hardware[backend], integer(restarts)))
  return tell('late', word, texts.next(strings.backend[backend], strings.backend[next]))
}

export function tellState(state: SwarmState, scene: Scene): StateText {
  const { states } = words
  switch (state.kind) {
    case 'ready':
      return tell('ok', states.ready.word, states.ready.text)
    case 'insecure':
      return tellUrgently('late', states.insecure.word, states.insecure.text(state.url))
    case 'unsupported':
      return tellUrgently('late', states.unsupported.word, states.unsupported.text(state.missing))
    case 'connecting':
      return connectingText(state, scene.now)
    case 'loading': {
      const known = state.totalBytes > 0
      const text = known
        ? states.loading.text(bytesOf(state.doneBytes, state.totalBytes))
        : states.loading.start
      return tell('working', states.loading.word, text)
    }
    case 'testing': {
      const { testing } = states
      const text = state.backend === null ? testing.text : testing.backend(strings.backend[state.backend])
      return tell('working', testing.word, text)
    }
    case 'waiting':
      return waitingText(state.reason, scene)
    case 'training':
      return trainingText(state, scene)
    case 'ahead':
      return tell('ok', states.ahead.word, states.ahead.text(integer(state.round)), closesAt(scene))
    case 'sending':
      return tell(
        'working',
        states.sending.word,
        states.sending.text(bytesOf(state.doneBytes, state.totalBytes)),
      )
    case 'checking':
      return tell('working', states.checking.word, states.checking.text(integer(state.round)))
    case 'paused':
      return tell('paused', states.paused.word, pausedText(state.heldLease, scene.deadlineAt))
    case 'stopped': {
      const { text, none } = states.stopped
      const sentence = state.contributions > 0 ? text(state.contributions, compact(state.tokens)) : none
      return tell('offline', states.stopped.word, sentence)
    }
    case 'removed':
      return tellUrgently('refused', states.removed.word, states.removed.text(state.reason))
    case 'engine-lost':
      return engineLostText(state)
    case 'other-tab':
      return tell('offline', states['other-tab'].word, states['other-tab'].text)
    case 'failed':
      return tellUrgently('late', states.failed.word, states.failed.text(state.message, state.code))
    default:
      return state satisfies never
  }
}

/** Two states with the same key differ only in ticking numbers: nothing to announce. */
export function stateKey({ state, finishing }: Pick<SwarmView, 'state' | 'finishing'>): string {
  switch (state.kind) {
    case 'waiting':
      return `waiting ${state.reason}`
    case 'training':
      return `training ${state.round} ${finishing}`
    default:
      return state.kind
  }
}

/** Counts down to the next event: `3:20`. */
export const nextText = (next: StateText['next'], now: number) =>
  next === null ? '' : countdown(next.at - now)
