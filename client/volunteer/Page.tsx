/** The whole volunteer page: what the swarm view says, drawn; title and live region follow the state. */
import type { ReadonlySignal } from '@preact/signals'
import { useEffect, useState } from 'preact/hooks'
import type { SwarmControls, SwarmView } from '../swarm/view.ts'
import { createAnnouncer } from '../ui/announcer.ts'
import { noteServerTime, now, toLocal } from '../ui/clock.ts'
import { loss } from '../ui/format.ts'
import { lastHeldOut, lossPoints } from '../ui/lossData.ts'
import { Brand, Button, ThemeSwitch } from '../ui/parts.tsx'
import { strings } from '../ui/strings.ts'
import { showsWork } from './pageModel.ts'
import { type Scene, stateKey, tellState } from './stateText.ts'
import { Welcome } from './Welcome.tsx'
import { Work } from './Work.tsx'

interface PageProps {
  view: ReadonlySignal<SwarmView>
  controls: SwarmControls
}

const sceneOf = (view: SwarmView): Scene => ({
  run: view.run,
  backend: view.backend?.backend ?? null,
  finishing: view.finishing,
  now: now.value,
  deadlineAt: toLocal(
    (view.state.kind === 'training' ? view.state.deadlineAt : null) ?? view.run?.deadlineAt ?? null,
  ),
})

/** Everything that changes by the second, in one sentence, for people who ask to hear it. */
function currentNumbers(view: SwarmView): string {
  const held =
    view.run === null ? undefined : lastHeldOut(lossPoints(view.run.history, view.run.initialValLoss))
  const sentence = tellState(view.state, sceneOf(view)).text
  return strings.volunteer.running.readText(sentence, view.me.acceptedContributions, loss(held?.heldOut))
}

export function Page({ view: viewSignal, controls }: PageProps) {
  const view = viewSignal.value
  const [announcer] = useState(() => createAnnouncer())
  const serverNow = view.run?.now
  useEffect(() => {
    if (serverNow !== undefined) noteServerTime(serverNow)
  }, [serverNow])

  const told = tellState(view.state, sceneOf(view))
  const key = stateKey(view)
  useEffect(() => {
    document.title = strings.volunteer.title(told.symbol, told.word)
    // An urgent sentence is an alert where it stands; the first states are the page itself.
    const silent = told.urgent || key === 'ready' || key === 'connecting'
    if (!silent) announcer.announce(`${told.word}. ${told.text}`)
  }, [key])

  return (
    <div class="page" data-state={view.state.kind}>
      <header class="page-head">
        <Brand href="/" />
        <div class="on-focus">
          <Button size="small" onClick={() => announcer.answer(currentNumbers(viewSignal.value))}>
            {strings.volunteer.running.read}
          </Button>
        </div>
      </header>
      <main>
        {showsWork(view) ? (
          <Work view={view} told={told} controls={controls} />
        ) : (
          <Welcome view={view} told={told} controls={controls} />
        )}
      </main>
      <footer class="page-foot">
        <ThemeSwitch />
      </footer>
      <output class="visually-hidden">{announcer.text.value}</output>
    </div>
  )
}
