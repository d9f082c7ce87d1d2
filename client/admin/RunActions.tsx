/** Start, pause, resume and end: always all four, those that make no sense now disabled. End asks first. */
import { useState } from 'preact/hooks'
import { ROUTES, type RunAction } from '../../shared/protocol/admin.ts'
import type { RunView } from '../../shared/protocol/run.ts'
import { Dialog } from '../ui/Dialog.tsx'
import { integer } from '../ui/format.ts'
import type { IconName } from '../ui/Icon.tsx'
import { Button } from '../ui/parts.tsx'
import { strings } from '../ui/strings.ts'
import { api, errorText } from './api.ts'
import { isAllowed } from './panelModel.ts'

const words = strings.admin.run

const ACTIONS: [RunAction, IconName][] = [
  ['start', 'play'],
  ['pause', 'pause'],
  ['resume', 'play'],
  ['end', 'stop'],
]

export function RunActions({ run }: { run: RunView }) {
  const [asking, setAsking] = useState(false)
  const [busy, setBusy] = useState(false)
  const [refusal, setRefusal] = useState<string | null>(null)
  const act = async (action: RunAction) => {
    setAsking(false)
    setBusy(true)
    setRefusal(null)
    try {
      await api.act(action)
    } catch (error) {
      setRefusal(errorText(error))
    } finally {
      setBusy(false)
    }
  }
  const press = (action: RunAction) => (action === 'end' ? setAsking(true) : void act(action))
  return (
    <div class="actions">
      <div class="buttons">
        {ACTIONS.map(([action, icon]) => (
          <Button
            key={action}
            icon={icon}
            kind={kindOf(action, run)}
            disabled={busy || !isAllowed(action, run.status)}
            onClick={() => press(action)}
          >
            {words[action]}
          </Button>
        ))}
        {run.weights !== null && (
          <a class="button" href={ROUTES.adminWeights} download>
            {words.weights}
          </a>
        )}
      </div>
      {refusal !== null && (
        <p class="action-fault" role="alert">
          {refusal}
        </p>
      )}
      {asking && (
        <Dialog title={words.endTitle(run.config.name)} onClose={() => setAsking(false)}>
          <p>{words.endText(run.present, integer(run.round))}</p>
          <div class="buttons">
            <Button onClick={() => setAsking(false)}>{words.keep}</Button>
            <Button kind="danger" icon="stop" onClick={() => void act('end')}>
              {words.end}
            </Button>
          </div>
        </Dialog>
      )}
    </div>
  )
}

function kindOf(action: RunAction, run: RunView): 'plain' | 'primary' | 'danger' {
  if (action === 'end') return 'danger'
  const next = action === 'start' || action === 'resume'
  return next && isAllowed(action, run.status) ? 'primary' : 'plain'
}
