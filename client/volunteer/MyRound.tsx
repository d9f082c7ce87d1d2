/** The work in hand: where it stands between fetching and checking, speed, deadline, upload. */
import type { SwarmState, SwarmView } from '../swarm/view.ts'
import { now, toLocal } from '../ui/clock.ts'
import { bytes, bytesOf, clock, compact, duration, integer, loss } from '../ui/format.ts'
import { Icon } from '../ui/Icon.tsx'
import { Fact, Progress } from '../ui/parts.tsx'
import { strings } from '../ui/strings.ts'
import { uploadBytes } from './pageModel.ts'

const words = strings.volunteer.running

/** Index into the four stages, or null while there is no work in hand. */
function stageOf(state: SwarmState): number | null {
  switch (state.kind) {
    case 'loading':
      return 0
    case 'training':
      return 1
    case 'paused':
    case 'engine-lost':
      return state.heldLease ? 1 : null
    case 'ahead':
      return 2
    case 'sending':
      return 2
    case 'checking':
      return 3
    default:
      return null
  }
}

export function MyRound({ view }: { view: SwarmView }) {
  const { state, run } = view
  const stage = stageOf(state)
  const title = 'round' in state ? `${words.roundTitle}: ${integer(state.round)}` : words.roundTitle
  return (
    <section class="card my-round">
      <h2>{title}</h2>
      <ol class="stages">
        {words.stages.map((name, index) => (
          <li key={name} aria-current={index === stage ? 'step' : undefined}>
            {stage !== null && index < stage && <Icon name="check" />}
            {name}
          </li>
        ))}
      </ol>
      {stage === null ? <p class="muted">{words.roundNone}</p> : <Bar state={state} />}
      <dl class="facts">
        <Fact label={words.speed}>
          {compact(view.me.tokensPerSecond)}
          <span class="unit"> {strings.perSecond}</span>
        </Fact>
        <Deadline at={stage === null ? null : toLocal(run?.deadlineAt ?? null)} />
        <Fact label={words.upload} note={uploadNote(view)}>
          {bytes(run === null ? null : uploadBytes(run))}
        </Fact>
        <Fact label={words.myLoss}>{loss(state.kind === 'training' ? state.loss : null)}</Fact>
      </dl>
    </section>
  )
}

/** While the tab trains on. */
function uploadNote({ upload, state }: SwarmView): string | undefined {
  if (upload === null || state.kind === 'sending' || state.kind === 'checking') return undefined
  return words.sendingMeanwhile(bytesOf(upload.doneBytes, upload.totalBytes))
}

function Bar({ state }: { state: SwarmState }) {
  const [value, max, text] = barOf(state)
  return (
    <div class="bar">
      <Progress value={value} max={max} text={text} />
      <p class="small muted number" aria-hidden="true">
        {text}
      </p>
    </div>
  )
}

function barOf(state: SwarmState): [value: number, max: number, text: string] {
  switch (state.kind) {
    case 'training':
      return [state.step, state.steps, words.stepLabel(integer(state.step), integer(state.steps))]
    case 'ahead':
      return [0, 1, strings.volunteer.states.ahead.word]
    case 'loading':
      return [state.doneBytes, state.totalBytes, words.loadLabel(bytesOf(state.doneBytes, state.totalBytes))]
    case 'sending':
      return [state.doneBytes, state.totalBytes, words.sendLabel(bytesOf(state.doneBytes, state.totalBytes))]
    case 'checking':
      return [1, 1, words.stages[3] ?? '']
    case 'engine-lost':
      return [0, 1, strings.volunteer.states['engine-lost'].word]
    default:
      return [0, 1, strings.volunteer.states.paused.word]
  }
}

function Deadline({ at }: { at: number | null }) {
  const left = at === null ? null : at - now.value
  return (
    <Fact
      label={words.deadline}
      note={left === null || left <= 0 ? undefined : words.deadlineIn(duration(left))}
    >
      {clock(at)}
    </Fact>
  )
}
