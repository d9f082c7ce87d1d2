/** What needs the operator, the round under way, four numbers, the actions, and the loss so far. */
import type { ComponentChildren } from 'preact'
import type { AdminView } from '../../shared/protocol/admin.ts'
import { ROUND_PHASES, type RunView } from '../../shared/protocol/run.ts'
import { now, toLocal } from '../ui/clock.ts'
import { bytes, compact, countdown, integer, loss, moment, percent, times, UNKNOWN } from '../ui/format.ts'
import { LossChart } from '../ui/LossChart.tsx'
import { lastHeldOut, lossPoints } from '../ui/lossData.ts'
import { Fact, Notice, Progress } from '../ui/parts.tsx'
import { RunPill } from '../ui/RunPill.tsx'
import { strings } from '../ui/strings.ts'
import { trafficOf } from '../ui/traffic.ts'
import { speedNow } from './panelModel.ts'
import { RunActions } from './RunActions.tsx'

const words = strings.admin.run

export function Overview({ view }: { view: AdminView }) {
  const { run } = view
  return (
    <div class="overview" id="overview">
      <Problems problems={view.problems} />
      {run !== null && (
        <>
          <RoundCard run={run} />
          <Numbers view={view} run={run} />
          <section class="card">
            <LossChart run={run} />
          </section>
        </>
      )}
    </div>
  )
}

function Problems({ problems }: { problems: AdminView['problems'] }) {
  if (problems.length === 0) {
    return (
      <Notice tone="ok" icon="check">
        <p>{words.noProblems}</p>
      </Notice>
    )
  }
  return (
    <section class="problems" aria-label={words.problems}>
      {problems.map((problem) => (
        <Notice key={`${problem.code} ${problem.at}`} tone="warn" icon="late">
          <p>{problem.message}</p>
          <p class="small muted">{`${problem.code}, ${moment(problem.at, now.value)}`}</p>
        </Notice>
      ))}
    </section>
  )
}

function RoundCard({ run }: { run: RunView }) {
  const round = Math.min(run.round, run.config.rounds)
  return (
    <section class="card">
      <div class="head">
        <div class="run-name">
          <h2>{run.config.name}</h2>
          <span data-testid="run-status" data-value={run.status}>
            <RunPill status={run.status} />
          </span>
        </div>
        <RunActions run={run} />
      </div>
      {run.problem !== null && (
        <Notice tone="danger" icon="cross">
          <p>{run.problem}</p>
        </Notice>
      )}
      <PhaseStrip run={run} />
      <div class="round-progress">
        <Progress
          value={run.accepted}
          max={run.config.replicas}
          text={words.acceptedOf(integer(run.accepted), integer(run.config.replicas))}
        />
      </div>
      <dl class="facts">
        <Fact
          label={words.round}
          note={words.of(integer(run.config.rounds))}
          testid="round"
          value={run.round}
        >
          {integer(round)}
        </Fact>
        <Fact label={words.accepted} note={words.of(integer(run.config.replicas))}>
          {integer(run.accepted)}
        </Fact>
        <Fact label={words.leased}>{integer(run.leased)}</Fact>
        <Fact label={words.present} note={words.quorum(integer(run.config.quorum))}>
          {integer(run.present)}
        </Fact>
        <Deadline run={run} />
      </dl>
    </section>
  )
}

/** The phases in order; the present one is marked, and only while the run runs. */
function PhaseStrip({ run }: { run: RunView }) {
  const running = run.status === 'running'
  return (
    <ol class="phases" data-testid="run-phase" data-value={run.phase}>
      {ROUND_PHASES.map((phase) => (
        <li key={phase} aria-current={running && phase === run.phase ? 'step' : undefined}>
          {strings.phase[phase]}
        </li>
      ))}
    </ol>
  )
}

function Deadline({ run }: { run: RunView }) {
  const at = toLocal(run.deadlineAt)
  const left = at === null ? null : at - now.value
  const text = left === null ? UNKNOWN : left > 0 ? countdown(left) : words.deadlineOver
  return (
    <Fact label={words.deadline} note={run.extensions > 0 ? words.extended(run.extensions) : undefined}>
      <span role="timer">{text}</span>
    </Fact>
  )
}

function Numbers({ view, run }: { view: AdminView; run: RunView }) {
  const held = lastHeldOut(lossPoints(run.history, run.initialValLoss))
  const speed = speedNow(view.volunteers)
  const merged = run.history.at(-1)?.round ?? 0
  return (
    <dl class="numbers">
      <NumberCard label={words.heldOut} note={heldOutNote(run)}>
        {loss(held?.heldOut)}
      </NumberCard>
      <NumberCard label={words.tokens} note={words.tokensShare(percent(merged / run.config.rounds))}>
        {compact(run.tokens)}
      </NumberCard>
      <NumberCard label={words.volunteers} note={words.contributors(run.contributors)}>
        {integer(run.present)}
      </NumberCard>
      <NumberCard label={words.speed} note={words.speedNote(speed.training)}>
        {compact(speed.tokensPerSecond)}
      </NumberCard>
      <TrafficCards run={run} />
      {run.config.groupSize > 1 && (
        <NumberCard
          label={words.groups}
          note={words.groupsNote(integer(view.mesh.contributions), integer(view.mesh.failed))}
        >
          {integer(view.mesh.linked)}
        </NumberCard>
      )}
    </dl>
  )
}

/** Where it came from, or how far volunteers are with the next one. */
function heldOutNote({ evaluation, initialValLoss }: RunView): string {
  if (evaluation === null) return words.heldOutFrom(loss(initialValLoss))
  return strings.measuring(integer(evaluation.settled), integer(evaluation.slices), integer(evaluation.round))
}

/** What the newest round cost, and what data parallelism would have cost. */
function TrafficCards({ run }: { run: RunView }) {
  const last = run.history.at(-1)
  if (last === undefined) return null
  const traffic = trafficOf(last, run.parameters)
  return (
    <>
      <NumberCard label={words.traffic} note={words.trafficEach(bytes(traffic.up), bytes(traffic.down))}>
        {bytes(traffic.bytes)}
      </NumberCard>
      <NumberCard label={words.less} note={words.lessNote}>
        {times(traffic.times)}
      </NumberCard>
    </>
  )
}

function NumberCard(props: { label: string; note: string; children: ComponentChildren }) {
  return (
    <div class="card number-card">
      <Fact label={props.label} note={props.note}>
        {props.children}
      </Fact>
    </div>
  )
}
