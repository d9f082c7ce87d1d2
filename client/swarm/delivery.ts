/**
 * Contributions on their way, one at a time: through the group if there is one and it works, else directly; and what the
 * page shows of it. With overlap the tab trains on meanwhile; what a receipt means for that is swarm.ts's.
 */
import type { Lease, Receipt } from '../../shared/protocol/run.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { traffic } from '../storage/blobs.ts'
import type { Board } from './board.ts'
import type { LocalReplica } from './localReplica.ts'
import type { Turn } from './turn.ts'
import { type Contribution, sendContribution } from './upload.ts'

export interface DeliveryParts {
  readonly board: Board
  readonly mesh: Mesh
  /** The volunteer's secret. */
  readonly token: () => string
  /** Whether the page has nothing else to show than this lease's contribution. */
  readonly isShown: (lease: Lease) => boolean
  /** A receipt has come, and what it says is done in the replica and on the page. */
  readonly onReceipt: (lease: Lease, receipt: Receipt) => void
  /** Nothing is on its way any more; with an error, because it cannot be sent. */
  readonly onOver: (fault: { error: unknown; signal: AbortSignal } | null) => void
}

export class Delivery {
  readonly #parts: DeliveryParts
  #receipt: Promise<Receipt> | null = null

  constructor(parts: DeliveryParts) {
    this.#parts = parts
  }

  /** Of the contribution that is on its way; null when none is. */
  get receipt(): Promise<Receipt> | null {
    return this.#receipt
  }

  /** Sends a contribution while other things go on. */
  send(lease: Lease, { bytes, trained }: Turn, replica: LocalReplica, signal: AbortSignal): Promise<Receipt> {
    const { board, onReceipt, onOver } = this.#parts
    const show = (doneBytes: number) => {
      board.patch({ upload: { round: lease.round, doneBytes, totalBytes: bytes.length } })
      if (this.#parts.isShown(lease)) this.show()
    }
    show(0)
    const onNetwork = (more: number) => {
      traffic.up += more
    }
    const told = { lease: lease.id, bytes, steps: trained.steps, loss: trained.meanLoss, onNetwork }
    const receipt = this.#deliver(told, lease, replica.parametersOf(lease), signal, show).then((receipt) => {
      replica.settle(receipt)
      board.settle(receipt, trained.steps)
      onReceipt(lease, receipt)
      return receipt
    })
    this.#receipt = receipt
    const over = (fault: { error: unknown; signal: AbortSignal } | null) => {
      if (this.#receipt === receipt) this.#receipt = null
      board.patch({ upload: null })
      onOver(fault)
    }
    receipt.then(
      () => over(null),
      (error: unknown) => over({ error, signal }),
    )
    return receipt
  }

  /** What is on its way, on the page. */
  show(): void {
    const { board } = this.#parts
    const { upload } = board.view.value
    if (upload === null) return
    const whole = upload.doneBytes >= upload.totalBytes
    board.state(whole ? { kind: 'checking', round: upload.round } : { kind: 'sending', ...upload })
  }

  async #deliver(
    contribution: Contribution,
    { id, codec, deadlineAt: atFirst }: Lease,
    parameters: number,
    signal: AbortSignal,
    show: (bytes: number) => void,
  ): Promise<Receipt> {
    const { bytes, steps, loss } = contribution
    const { board, mesh, token } = this.#parts
    const deadlineAt = board.view.value.run?.deadlineAt ?? atFirst
    const offered = { lease: id, bytes, parameters, codec, steps, loss, deadlineAt }
    const receipt = await mesh.deliver(offered, signal)
    if (receipt === null) return sendContribution(contribution, token(), signal, show)
    show(bytes.length)
    return receipt
  }
}
