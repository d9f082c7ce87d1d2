/** Before the click: what this is, a sample of what it writes, the button, what one agrees to, how it works. */
import type { RunView } from '../../shared/protocol/run.ts'
import type { SwarmControls, SwarmView } from '../swarm/view.ts'
import { bytes, compact, duration, integer, loss, percent, tokensPerSecond } from '../ui/format.ts'
import { Icon, type IconName } from '../ui/Icon.tsx'
import { lastHeldOut, lossPoints } from '../ui/lossData.ts'
import { Button, Fact, Notice, Pill } from '../ui/parts.tsx'
import { strings } from '../ui/strings.ts'
import { Meeting } from './Meeting.tsx'
import {
  downloadBytes,
  enabledControls,
  mergedRounds,
  samplesOf,
  snapshotBytes,
  uploadBytes,
} from './pageModel.ts'
import type { StateText } from './stateText.ts'

const words = strings.volunteer.welcome

interface PartProps {
  view: SwarmView
  told: StateText
  controls: SwarmControls
}

export function Welcome({ view, told, controls }: PartProps) {
  const { run } = view
  const what = run === null ? words.what : words.whatRun(run.config.name, compact(run.parameters))
  return (
    <>
      <div class="welcome">
        <div class="welcome-what">
          <h1>{words.headline}</h1>
          <p class="lead">{what}</p>
        </div>
        <Sample run={run} />
        <Start view={view} told={told} controls={controls} />
        <Consent run={run} />
        <Meeting view={view} controls={controls} />
      </div>
      {run !== null && <Facts run={run} />}
      <How />
    </>
  )
}

function Sample({ run }: { run: RunView | null }) {
  const { newest, untrained } = samplesOf(run)
  return (
    <section class="welcome-sample card">
      <h2>{words.sampleTitle}</h2>
      {newest === null && <p class="muted">{words.sampleNone}</p>}
      {untrained !== null && (
        <div>
          <h3>{words.sampleThen}</h3>
          <blockquote class="sample sample-then">{untrained.text}</blockquote>
        </div>
      )}
      {newest !== null && newest.round > 0 && (
        <div>
          <h3>{words.sampleNow(integer(newest.round))}</h3>
          <blockquote class="sample">{newest.text}</blockquote>
        </div>
      )}
    </section>
  )
}

function Start({ view, told, controls }: PartProps) {
  const { backend, me } = view
  const fits =
    backend === null
      ? words.fitUnknown
      : words.fits(
          strings.backend[backend.backend],
          tokensPerSecond(backend.tokensPerSecond),
          bytes(backend.peakBytes),
        )
  const blocked = told.tone === 'warn' || told.tone === 'danger'
  return (
    <section class="welcome-start" aria-label={words.start}>
      {me.acceptedContributions > 0 && me.name !== null && (
        <p data-testid="my-accepted" data-value={me.acceptedContributions}>
          {words.thanksBack(me.name, me.acceptedContributions)}
        </p>
      )}
      <Button
        kind="primary"
        size="large"
        icon="flame"
        disabled={!enabledControls(view).start}
        onClick={() => controls.start()}
      >
        {words.start}
      </Button>
      {blocked ? (
        <Notice tone={told.tone} icon={told.icon}>
          <p role={told.urgent ? 'alert' : undefined}>
            <strong>{told.word}.</strong> {told.text}
          </p>
          {view.state.kind === 'insecure' && (
            <a class="button" href={view.state.url}>
              {strings.volunteer.states.insecure.open}
            </a>
          )}
        </Notice>
      ) : (
        <>
          <p class="state-line">
            <Pill tone={told.tone} icon={told.icon}>
              {told.word}
            </Pill>
            <span>{told.text}</span>
          </p>
          <p class="muted" data-testid="backend" data-value={backend?.backend ?? ''}>
            {fits}
          </p>
        </>
      )}
    </section>
  )
}

function roundTime(run: RunView): string {
  const last = run.history.at(-1)
  return last === undefined
    ? words.consentAtMost(duration(run.config.deadlineSeconds * 1_000))
    : words.consentAbout(duration(last.seconds * 1_000))
}

/** Only what is true of this page. A new clause needs the code that makes it so. */
function Consent({ run }: { run: RunView | null }) {
  const name = run === null ? words.consentAnyRun : `“${run.config.name}”`
  const traffic =
    run === null
      ? ''
      : `${words.consentFirst(bytes(snapshotBytes(run)))} ${words.consentBytes(roundTime(run), bytes(downloadBytes(run)), bytes(uploadBytes(run)))}`
  const clauses = [
    `${words.consentUse(name)} ${traffic}`,
    `${words.consentPower} ${words.consentStop}`,
    words.consentKeeps,
    run !== null && run.config.groupSize > 1 ? words.consentSeenUnless : words.consentSeen,
  ]
  return (
    <section class="welcome-consent">
      <h2>{words.consentTitle}</h2>
      <ul>
        {clauses.map((clause) => (
          <li key={clause}>{clause}</li>
        ))}
      </ul>
    </section>
  )
}

function Facts({ run }: { run: RunView }) {
  const held = lastHeldOut(lossPoints(run.history, run.initialValLoss))
  const merged = mergedRounds(run)
  return (
    <section class="card">
      <h2>{words.factsTitle}</h2>
      <dl class="facts facts-large">
        <Fact label={words.factLoss} note={words.factLossFrom(loss(run.initialValLoss))}>
          {loss(held?.heldOut)}
        </Fact>
        <Fact label={words.factVolunteers} note={words.factContributors(run.contributors)}>
          {integer(run.present)}
        </Fact>
        <Fact
          label={words.factDone}
          note={words.factRounds(integer(merged), integer(run.config.rounds))}
          testid="run-round"
          value={run.round}
        >
          {percent(merged / run.config.rounds)}
        </Fact>
      </dl>
    </section>
  )
}

const HOW_ICONS: IconName[] = ['download', 'flame', 'upload']

function How() {
  return (
    <section class="how">
      <h2>{words.howTitle}</h2>
      <ol class="how-steps">
        {words.how.map(([name, text], index) => (
          <li key={name} class="card">
            <h3>
              <Icon name={HOW_ICONS[index] ?? 'flame'} />
              {`${index + 1}. ${name}`}
            </h3>
            <p>{text}</p>
          </li>
        ))}
      </ol>
      <p>{words.howNote}</p>
      <h2>{words.whoTitle}</h2>
      <p>{words.who(location.host)}</p>
    </section>
  )
}
