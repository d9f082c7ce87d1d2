/** Every change of state with its cause, newest first, to read or to copy into a report. */
import { useState } from 'preact/hooks'
import type { SwarmView } from '../swarm/view.ts'
import { clockSeconds } from '../ui/format.ts'
import { Button } from '../ui/parts.tsx'
import { strings } from '../ui/strings.ts'

const words = strings.volunteer.running

export function StateLog({ log }: { log: SwarmView['log'] }) {
  const [copied, setCopied] = useState(false)
  const copy = async () => {
    await navigator.clipboard.writeText(logText(log))
    setCopied(true)
  }
  return (
    <section class="card">
      <div class="head">
        <h2>{words.logTitle}</h2>
        {log.length > 0 && window.isSecureContext && (
          <Button size="small" icon={copied ? 'check' : 'copy'} onClick={() => void copy()}>
            {copied ? words.copied : words.copy}
          </Button>
        )}
      </div>
      {log.length === 0 ? (
        <p class="muted">{words.logNone}</p>
      ) : (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a scroll container must be reachable by keyboard
        <ol class="log" tabIndex={0} aria-label={words.logTitle}>
          {log.map((line) => (
            <li key={`${line.at} ${line.text}`}>
              <time dateTime={new Date(line.at).toISOString()}>{clockSeconds(line.at)}</time>
              <span>{line.text}</span>
            </li>
          ))}
        </ol>
      )}
    </section>
  )
}

const logText = (log: SwarmView['log']) =>
  log.map((line) => `${new Date(line.at).toISOString()} ${line.text}`).join('\n')
