/** From the click on: status strip, my round, receipts, my total, the run, samples, what happened. */
import type { SwarmControls, SwarmView } from '../swarm/view.ts'
import { clock, integer } from '../ui/format.ts'
import { Notice, Progress } from '../ui/parts.tsx'
import { strings } from '../ui/strings.ts'
import { TaskCharts } from '../ui/TaskCharts.tsx'
import { Meeting } from './Meeting.tsx'
import { MyRound } from './MyRound.tsx'
import { MyTotal } from './MyTotal.tsx'
import { Receipts } from './Receipts.tsx'
import { RunSection } from './RunSection.tsx'
import { Samples } from './Samples.tsx'
import { StateLog } from './StateLog.tsx'
import { StatusStrip } from './StatusStrip.tsx'
import type { StateText } from './stateText.ts'

interface WorkProps {
  view: SwarmView
  told: StateText
  controls: SwarmControls
}

/** It takes seconds on a first visit, with nothing else to see meanwhile. */
function Compiling({ done, of }: NonNullable<SwarmView['compiling']>) {
  const text = strings.volunteer.running.compiling(integer(done), integer(of))
  return (
    <Notice tone="info" icon="working">
      <div class="compiling" data-testid="compiling">
        <p>{text}</p>
        <Progress value={done} max={of} text={text} />
      </div>
    </Notice>
  )
}

export function Work({ view, told, controls }: WorkProps) {
  const words = strings.volunteer.running
  const { backend } = view
  const stale = !view.connected && view.asOf !== null && view.state.kind !== 'stopped'
  return (
    <div class="work">
      <h1 class="visually-hidden">{words.statusTitle}</h1>
      <StatusStrip view={view} told={told} controls={controls} />
      {stale && (
        <Notice tone="warn" icon="offline">
          <p>{words.stale(clock(view.asOf))}</p>
        </Notice>
      )}
      {backend?.fellBackFrom !== undefined && (
        <Notice tone="warn" icon="late">
          <p data-testid="fell-back">
            {words.fellBack(strings.backend[backend.fellBackFrom], strings.backend[backend.backend])}
          </p>
        </Notice>
      )}
      {view.compiling !== null && <Compiling {...view.compiling} />}
      {backend?.backend === 'webgpu' && backend.refused !== undefined && (
        <Notice tone="warn" icon="late">
          <p data-testid="refused">{words.refused(backend.refused)}</p>
        </Notice>
      )}
      <div class="work-mine">
        <MyRound view={view} />
        <Receipts receipts={view.receipts} />
        <MyTotal view={view} />
      </div>
      <Meeting view={view} controls={controls} />
      <RunSection run={view.run} />
      <TaskCharts results={view.run?.tasks ?? []} />
      <Samples run={view.run} />
      <StateLog log={view.log} />
    </div>
  )
}
