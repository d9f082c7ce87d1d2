/** The same model, untrained and now, by what it writes. */
import type { RunView } from '../../shared/protocol/run.ts'
import { integer } from '../ui/format.ts'
import { strings } from '../ui/strings.ts'
import { samplesOf } from './pageModel.ts'

const words = strings.volunteer.running

export function Samples({ run }: { run: RunView | null }) {
  const { newest, untrained } = samplesOf(run)
  if (newest === null) return null
  return (
    <section class="card">
      <h2>{words.sampleTitle}</h2>
      <div class="samples">
        {untrained !== null && <Sample title={words.sampleThen} text={untrained.text} />}
        {newest.round > 0 ? (
          <Sample title={words.sampleNow(integer(newest.round))} text={newest.text} />
        ) : (
          <p class="muted">{words.sampleLater}</p>
        )}
      </div>
    </section>
  )
}

function Sample({ title, text }: { title: string; text: string }) {
  return (
    <div>
      <h3>{title}</h3>
      <blockquote class="sample">{text}</blockquote>
    </div>
  )
}
