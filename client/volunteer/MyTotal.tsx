/** What this person has given, and with what: steps, tokens, contributions, backend and why it was chosen. */
import type { BackendChoice, SwarmView } from '../swarm/view.ts'
import { bytes, compact, integer, percent, tokensPerSecond } from '../ui/format.ts'
import { Fact } from '../ui/parts.tsx'
import { strings } from '../ui/strings.ts'

const words = strings.volunteer.running

export function MyTotal({ view }: { view: SwarmView }) {
  const { me, backend } = view
  return (
    <section class="card my-total">
      <div class="head">
        <h2>{words.totalTitle}</h2>
        {me.name !== null && <p class="muted small">{words.totalName(me.name)}</p>}
      </div>
      <dl class="facts">
        <Fact
          label={words.contributions}
          note={words.contributionsNote}
          testid="my-accepted"
          value={me.acceptedContributions}
        >
          {integer(me.acceptedContributions)}
        </Fact>
        <Fact label={words.tokens} note={words.tokensNote}>
          {compact(me.tokens)}
        </Fact>
        <Fact label={words.steps} note={words.stepsNote} testid="my-steps" value={me.steps}>
          {integer(me.steps)}
        </Fact>
        <Fact
          label={words.utilisation}
          note={words.utilisationNote}
          testid="utilisation"
          value={me.utilisation ?? ''}
        >
          {percent(me.utilisation)}
        </Fact>
        {me.slices > 0 && (
          <Fact label={words.slices} note={words.slicesNote} testid="slices" value={me.slices}>
            {integer(me.slices)}
          </Fact>
        )}
        <Fact label={words.sent} note={words.trafficNote} testid="bytes-up" value={me.bytesUp}>
          {bytes(me.bytesUp)}
        </Fact>
        <Fact label={words.received} note={words.trafficNote} testid="bytes-down" value={me.bytesDown}>
          {bytes(me.bytesDown)}
        </Fact>
        <Fact
          label={words.backend}
          note={backend === null ? undefined : words.backendNote(bytes(backend.peakBytes))}
          testid="backend"
          value={backend?.backend ?? ''}
        >
          {backend === null ? strings.unknown : strings.backend[backend.backend]}
        </Fact>
      </dl>
      {backend !== null && backend.measurements.length > 0 && <Measurements choice={backend} />}
    </section>
  )
}

function Measurements({ choice }: { choice: BackendChoice }) {
  return (
    <details class="measurements">
      <summary>{words.why}</summary>
      <ul>
        {choice.measurements.map((one) => (
          <li key={one.backend}>
            {one.tokensPerSecond === null
              ? words.notMeasured(strings.backend[one.backend], one.note)
              : words.measured(strings.backend[one.backend], tokensPerSecond(one.tokensPerSecond), one.note)}
          </li>
        ))}
      </ul>
    </details>
  )
}
