/** Choosing the password once, and logging in with it. */
import type { ComponentChildren } from 'preact'
import { useId, useState } from 'preact/hooks'
import { LIMITS } from '../../shared/protocol/limits.ts'
import { integer } from '../ui/format.ts'
import { Icon } from '../ui/Icon.tsx'
import { Brand, Button, Notice, ThemeSwitch } from '../ui/parts.tsx'
import { strings } from '../ui/strings.ts'
import { api, errorText } from './api.ts'

const words = strings.admin.access

/** A narrow page around one question. */
export function Frame({ children }: { children: ComponentChildren }) {
  return (
    <div class="access">
      <header class="panel-head">
        <Brand href="/" note={words.note} />
      </header>
      <main class="card access-card">{children}</main>
      <footer class="panel-foot">
        <ThemeSwitch />
      </footer>
    </div>
  )
}

interface PasswordFormProps {
  title: string
  text?: string | undefined
  button: string
  autocomplete: 'new-password' | 'current-password'
  hint?: string
  /** Rejects with what to show. */
  onSubmit(password: string): Promise<unknown>
  onDone(): void
}

function PasswordForm({ title, text, button, autocomplete, hint, onSubmit, onDone }: PasswordFormProps) {
  const id = useId()
  const [password, setPassword] = useState('')
  const [shown, setShown] = useState(false)
  const [busy, setBusy] = useState(false)
  const [fault, setFault] = useState<string | null>(null)
  const send = async () => {
    setBusy(true)
    setFault(null)
    try {
      await onSubmit(password)
      onDone()
    } catch (error) {
      setFault(errorText(error))
    } finally {
      setBusy(false)
    }
  }
  return (
    <form
      class="access-form"
      onSubmit={(event) => {
        event.preventDefault()
        void send()
      }}
    >
      <h1>{title}</h1>
      {text !== undefined && <p>{text}</p>}
      <div class="field">
        <label for={id}>{words.password}</label>
        <input
          id={id}
          class="input"
          type={shown ? 'text' : 'password'}
          autocomplete={autocomplete}
          required
          value={password}
          aria-invalid={fault !== null}
          aria-describedby={`${id}-hint ${id}-fault`}
          onInput={(event) => setPassword(event.currentTarget.value)}
        />
        <p id={`${id}-hint`} class="hint">
          {hint}
        </p>
        <p id={`${id}-fault`} class="fault" role="alert">
          {fault !== null && <Icon name="late" />}
          {fault}
        </p>
      </div>
      <label class="tick">
        <input type="checkbox" checked={shown} onChange={() => setShown(!shown)} />
        {words.show}
      </label>
      <Button kind="primary" type="submit" disabled={busy}>
        {button}
      </Button>
    </form>
  )
}

export function Setup({ token, onDone }: { token: string; onDone(): void }) {
  return (
    <Frame>
      <PasswordForm
        title={words.setupTitle}
        text={words.setupText}
        button={words.setupButton}
        autocomplete="new-password"
        hint={words.passwordRule(integer(LIMITS.password.min))}
        onSubmit={(password) => api.setup(token, password)}
        onDone={onDone}
      />
    </Frame>
  )
}

interface LoginProps {
  configured: boolean
  note: string | null
  onDone(): void
}

export function Login({ configured, note, onDone }: LoginProps) {
  if (!configured) {
    return (
      <Frame>
        <h1>{words.setupTitle}</h1>
        <p>{words.noSetup}</p>
      </Frame>
    )
  }
  return (
    <Frame>
      {note !== null && (
        <Notice tone="info" icon="check">
          <p role="status">{note}</p>
        </Notice>
      )}
      <PasswordForm
        title={words.loginTitle}
        button={words.loginButton}
        autocomplete="current-password"
        onSubmit={api.login}
        onDone={onDone}
      />
    </Frame>
  )
}
