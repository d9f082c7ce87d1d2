/** The panel: one page from what needs the operator down to single contributions. */
import { useEffect, useState } from 'preact/hooks'
import { now } from '../ui/clock.ts'
import { clockSeconds } from '../ui/format.ts'
import { Brand, Button, Notice, ThemeSwitch } from '../ui/parts.tsx'
import { strings } from '../ui/strings.ts'
import { api } from './api.ts'
import { Checkpoints } from './Checkpoints.tsx'
import { Contributions } from './Contributions.tsx'
import { Corpora } from './Corpora.tsx'
import { CreateRun } from './CreateRun.tsx'
import { type Live, openLive } from './live.ts'
import { Overview } from './Overview.tsx'
import { mayCreate } from './panelModel.ts'
import { Rounds } from './Rounds.tsx'
import { Tasks } from './Tasks.tsx'
import { Volunteers } from './Volunteers.tsx'

const words = strings.admin

export function Panel({ onLeave }: { onLeave(why: string | null): void }) {
  const [live, setLive] = useState<Live | null>(null)
  useEffect(() => {
    const opened = openLive(() => onLeave(words.access.sessionOver))
    setLive(opened)
    return () => opened.close()
  }, [])
  const logOut = async () => {
    await api.logout().catch(() => null)
    onLeave(null)
  }
  return (
    <div class="panel">
      <header class="panel-head">
        <Brand href="/" note={words.access.note} />
        <nav class="panel-nav" aria-label={words.title}>
          <a href="#overview">{words.run.overview}</a>
          <a href="#volunteers">{words.volunteers.title}</a>
          <a href="#rounds">{words.rounds.title}</a>
          <a href="#checkpoints">{words.checkpoints.title}</a>
          <a href="#corpora">{words.corpora.title}</a>
          <a href="#contributions">{words.contributions.title}</a>
        </nav>
        <Button size="small" onClick={() => void logOut()}>
          {words.access.logout}
        </Button>
      </header>
      <main class="panel-main">
        {live === null || live.view.value === null ? (
          <p class="muted">{words.access.loading}</p>
        ) : (
          <Sections live={live} />
        )}
      </main>
      <footer class="panel-foot">
        <ThemeSwitch />
      </footer>
    </div>
  )
}

function Sections({ live }: { live: Live }) {
  const view = live.view.value
  if (view === null) return null
  const { run } = view
  return (
    <>
      <h1 class="visually-hidden">{words.title}</h1>
      <Freshness live={live} />
      <Overview view={view} />
      <Tasks {...view} now={now.value} />
      {run === null && (
        <section class="card" id="create">
          <h2>{words.form.title}</h2>
          <p class="create-intro">{words.run.noRun}</p>
          <CreateRun starts={view} corpora={view.corpora} now={now.value} />
        </section>
      )}
      {run !== null && mayCreate(run) && (
        <details class="card another" id="create">
          <summary>{words.form.another}</summary>
          <CreateRun starts={view} corpora={view.corpora} now={now.value} />
        </details>
      )}
      <Volunteers rows={view.volunteers} now={now.value} />
      <Rounds
        rounds={view.rounds}
        discarded={view.discarded}
        parameters={view.run?.parameters ?? 0}
        now={now.value}
      />
      <Checkpoints {...view} now={now.value} />
      <Corpora rows={view.corpora} now={now.value} />
      <Contributions rows={view.contributions} now={now.value} />
    </>
  )
}

function Freshness({ live }: { live: Live }) {
  const asOf = clockSeconds(live.asOf.value)
  const held = live.heldSince.value
  return (
    <div class="freshness">
      {live.connected.value ? (
        <p class="muted small number">
          {held === null ? words.run.asOf(asOf) : words.run.held(clockSeconds(held))}
        </p>
      ) : (
        <Notice tone="warn" icon="offline">
          <p>{words.run.stale(asOf)}</p>
        </Notice>
      )}
      <Button size="small" aria-pressed={held !== null} onClick={live.toggleHold}>
        {words.run.hold}
      </Button>
    </div>
  )
}
