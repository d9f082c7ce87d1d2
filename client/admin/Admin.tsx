/** Which screen the operator sees: setup by the one-use link, login, or the panel. */
import { useEffect, useState } from 'preact/hooks'
import type { AdminSession } from '../../shared/protocol/admin.ts'
import { Button, Notice } from '../ui/parts.tsx'
import { strings } from '../ui/strings.ts'
import { Frame, Login, Setup } from './Access.tsx'
import { api, errorText } from './api.ts'
import { Panel } from './Panel.tsx'

const words = strings.admin.access

const setupToken = () => new URLSearchParams(location.search).get('setup')

export function Admin() {
  const [session, setSession] = useState<AdminSession | null>(null)
  const [fault, setFault] = useState<string | null>(null)
  const [note, setNote] = useState<string | null>(null)
  const ask = async () => {
    setFault(null)
    try {
      setSession(await api.session())
    } catch (error) {
      setFault(errorText(error))
    }
  }
  useEffect(() => void ask(), [])

  if (fault !== null) return <Unreachable fault={fault} onRetry={() => void ask()} />
  if (session === null) {
    return (
      <Frame>
        <p class="muted">{words.loading}</p>
      </Frame>
    )
  }
  const token = setupToken()
  if (token !== null && session.configured) history.replaceState(null, '', '/admin')
  if (token !== null && !session.configured) {
    return (
      <Setup
        token={token}
        onDone={() => {
          history.replaceState(null, '', '/admin')
          setNote(words.setupDone)
          void ask()
        }}
      />
    )
  }
  if (!session.loggedIn) {
    return <Login configured={session.configured} note={note} onDone={() => void ask()} />
  }
  const leave = (why: string | null) => {
    setNote(why)
    setSession({ ...session, loggedIn: false })
  }
  return <Panel onLeave={leave} />
}

function Unreachable({ fault, onRetry }: { fault: string; onRetry(): void }) {
  return (
    <Frame>
      <Notice tone="warn" icon="offline">
        <p role="alert">{fault}</p>
      </Notice>
      <Button onClick={onRetry}>{words.tryAgain}</Button>
    </Frame>
  )
}
