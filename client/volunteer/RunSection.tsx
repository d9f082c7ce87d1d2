/** The run everyone works on: its round, who is here, how far this round is, and the loss so far. */
import type { RunView } from '../../shared/protocol/run.ts'
import { now, toLocal } from '../ui/clock.ts'
import { bytes, clock, countdown, integer, times } from '../ui/format.ts'
import { LossChart } from '../ui/LossChart.tsx'
import { Fact } from '../ui/parts.tsx'
import { RunPill } from '../ui/RunPill.tsx'
import { strings } from '../ui/strings.ts'
import { trafficOf } from '../ui/traffic.ts'

const words = strings.volunteer.running

export function RunSection({ run }: { run: RunView | null }) {
  if (run === null) {
    return (
      <section class="card">
        <h2>{words.runTitle}</h2>
        <p class="muted">{words.runNone}</p>
      </section>
    )
  }
  const deadline = toLocal(run.deadlineAt)
  return (
    <section class="card">
      <div class="head">
        <h2>{`${words.runTitle}: ${run.config.name}`}</h2>
        <RunPill status={run.status} />
      </div>
      <dl class="facts run-facts">
        <Fact
          label={words.runRound}
          note={words.runOf(integer(run.config.rounds))}
          testid="run-round"
          value={run.round}
        >
          {integer(Math.min(run.round, run.config.rounds))}
        </Fact>
        <Fact label={words.runIn} note={words.runNeeded(integer(run.config.replicas))}>
          {integer(run.accepted)}
        </Fact>
        <Fact label={words.nextRoundEnds}>
          {deadline === null ? strings.unknown : <span role="timer">{countdown(deadline - now.value)}</span>}
        </Fact>
        <Fact label={words.runVolunteers}>{integer(run.present)}</Fact>
        <Traffic run={run} />
        <Measuring run={run} />
      </dl>
      <LossChart
        run={run}
        empty={deadline === null ? strings.chart.empty : strings.chart.emptyBy(clock(deadline))}
      />
    </section>
  )
}

/** How far the evaluation is that volunteers are measuring. */
function Measuring({ run: { evaluation } }: { run: RunView }) {
  if (evaluation === null) return null
  const [settled, slices] = [integer(evaluation.settled), integer(evaluation.slices)]
  return (
    <Fact
      label={words.evaluation}
      note={strings.measuring(settled, slices, integer(evaluation.round))}
      testid="evaluation"
      value={evaluation.round}
    >
      {words.evaluationOf(settled, slices)}
    </Fact>
  )
}

/** What the newest round cost, and what data parallelism would have cost. */
function Traffic({ run }: { run: RunView }) {
  const last = run.history.at(-1)
  if (last === undefined) return null
  const traffic = trafficOf(last, run.parameters)
  return (
    <>
      <Fact label={words.roundTraffic} note={words.roundTrafficEach(bytes(traffic.up), bytes(traffic.down))}>
        {bytes(traffic.bytes)}
      </Fact>
      <Fact label={words.less} note={words.lessNote} testid="times-less" value={traffic.times ?? ''}>
        {times(traffic.times)}
      </Fact>
    </>
  )
}
