/** A run's status as icon, word and colour. */
import type { RunView } from '../../shared/protocol/run.ts'
import type { IconName } from './Icon.tsx'
import { Pill, type Tone } from './parts.tsx'
import { strings } from './strings.ts'

const LOOKS: Record<RunView['status'], [Tone, IconName]> = {
  preparing: ['info', 'working'],
  ready: ['neutral', 'wait'],
  running: ['info', 'working'],
  paused: ['neutral', 'pause'],
  completed: ['ok', 'check'],
  ended: ['neutral', 'stop'],
  failed: ['danger', 'cross'],
}

export function RunPill({ status }: { status: RunView['status'] }) {
  const [tone, icon] = LOOKS[status]
  return (
    <Pill tone={tone} icon={icon}>
      {strings.runStatus[status]}
    </Pill>
  )
}
