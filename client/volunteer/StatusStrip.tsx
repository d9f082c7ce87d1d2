/** What the tab is doing, why, what comes next, and the three buttons, which are always there. */
import { useEffect, useRef, useState } from 'preact/hooks'
import type { SwarmControls, SwarmView } from '../swarm/view.ts'
import { now } from '../ui/clock.ts'
import { Dialog } from '../ui/Dialog.tsx'
import { Button, Pill } from '../ui/parts.tsx'
import { strings } from '../ui/strings.ts'
import { enabledControls, lostWork } from './pageModel.ts'
import { nextText, type StateText } from './stateText.ts'

const words = strings.volunteer.running

interface StripProps {
  view: SwarmView
  told: StateText
  controls: SwarmControls
}

export function StatusStrip({ view, told, controls }: StripProps) {
  const element = useRef<HTMLElement>(null)
  // The button that brought the person here is gone; keep the keyboard where the story goes on.
  useEffect(() => {
    if (document.activeElement === document.body) element.current?.focus({ preventScroll: true })
  }, [])
  return (
    <section ref={element} class={`strip strip-${told.tone}`} aria-label={words.statusTitle} tabIndex={-1}>
      <div class="strip-state">
        <div class="strip-word">
          <Pill tone={told.tone} icon={told.icon}>
            {told.word}
          </Pill>
          {told.next !== null && (
            <span class="strip-next muted">
              {told.next.label}{' '}
              <span role="timer" class="number">
                {nextText(told.next, now.value)}
              </span>
            </span>
          )}
        </div>
        <p class="strip-text" role={told.urgent ? 'alert' : undefined}>
          {told.text}
        </p>
      </div>
      <StripButtons view={view} controls={controls} />
    </section>
  )
}

function StripButtons({ view, controls }: Omit<StripProps, 'told'>) {
  const [asking, setAsking] = useState(false)
  const can = enabledControls(view)
  const lost = lostWork(view)
  const paused = view.state.kind === 'paused'
  const stop = () => {
    setAsking(false)
    controls.stop()
  }
  const finish = () => {
    setAsking(false)
    if (!view.finishing) controls.finishRound()
  }
  return (
    <>
      <div class="buttons strip-buttons">
        {can.start && (
          <Button kind="primary" icon="flame" onClick={() => controls.start()}>
            {strings.volunteer.welcome.startAgain}
          </Button>
        )}
        {paused ? (
          <Button kind="primary" icon="play" disabled={!can.resume} onClick={() => controls.resume()}>
            {words.resume}
          </Button>
        ) : (
          <Button icon="pause" disabled={!can.pause} onClick={() => controls.pause()}>
            {words.pause}
          </Button>
        )}
        <Button
          icon={view.finishing ? 'check' : 'finish'}
          aria-pressed={view.finishing}
          disabled={!can.finish}
          onClick={() => controls.finishRound()}
        >
          {words.finish}
        </Button>
        <Button icon="stop" disabled={!can.stop} onClick={() => (lost === null ? stop() : setAsking(true))}>
          {words.stop}
        </Button>
      </div>
      {asking && (
        <Dialog title={words.stopTitle} onClose={() => setAsking(false)}>
          <p>{words.stopText(lost ?? words.stopWork)}</p>
          <div class="buttons">
            <Button onClick={() => setAsking(false)}>{words.keepGoing}</Button>
            <Button onClick={finish}>{words.finish}</Button>
            <Button kind="danger" onClick={stop}>
              {words.stop}
            </Button>
          </div>
        </Dialog>
      )}
    </>
  )
}
