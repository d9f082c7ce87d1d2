/** One receipt per update sent, newest first: accepted with its tokens, or not used with the reason. */
import type { SwarmView } from '../swarm/view.ts'
import { clock, compact, integer } from '../ui/format.ts'
import { Pill } from '../ui/parts.tsx'
import { strings } from '../ui/strings.ts'

const words = strings.volunteer.running
type OneReceipt = SwarmView['receipts'][number]

export function Receipts({ receipts }: { receipts: SwarmView['receipts'] }) {
  return (
    <section class="card receipts">
      <h2>{words.receiptsTitle}</h2>
      {receipts.length === 0 ? (
        <p class="muted">{words.receiptsNone}</p>
      ) : (
        <ol class="receipt-list">
          {receipts.map((receipt) => (
            <ReceiptLine key={`${receipt.lease} ${receipt.at}`} receipt={receipt} />
          ))}
        </ol>
      )}
    </section>
  )
}

function ReceiptLine({ receipt }: { receipt: OneReceipt }) {
  const accepted = receipt.result === 'accepted'
  return (
    <li class="receipt">
      <div class="receipt-head">
        <strong>{strings.round(integer(receipt.round))}</strong>
        <Pill tone={accepted ? 'ok' : 'neutral'} icon={accepted ? 'check' : 'cross'}>
          {accepted ? words.accepted : words.notUsed}
        </Pill>
        <time class="muted small number" dateTime={new Date(receipt.at).toISOString()}>
          {clock(receipt.at)}
        </time>
      </div>
      <p class="small">{receiptText(receipt)}</p>
    </li>
  )
}

/** In the reader's language, so not the coordinator's own sentence. */
export function receiptText(receipt: OneReceipt): string {
  if (receipt.result === 'rejected') return strings.rejection[receipt.reason]
  return receipt.repeated ? words.repeated : words.acceptedText(compact(receipt.tokens))
}
