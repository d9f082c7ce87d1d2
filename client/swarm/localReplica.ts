/**
 * This tab's replica between leases: where it stands to the global weights, what error feedback keeps for it, and what
 * of it survives a reload. The arithmetic is in the Worker (engineClient.ts); training itself is turn.ts's.
 */

import { fragments, gathered, type ParameterRange, scatter } from '../../shared/model/layout.ts'
import { modelOf } from '../../shared/protocol/modelOf.ts'
import type { FragmentView, Lease, Receipt, RunView } from '../../shared/protocol/run.ts'
import { loadReplica, saveReplica } from '../storage/replica.ts'
import type { GlobalWeights } from '../storage/weights.ts'
import type { SteadyEngine } from '../worker/steadyEngine.ts'

type Values = Float32Array<ArrayBuffer>

/** Where the parameters come from. */
interface Origin {
  readonly lease: string
  readonly round: number
  readonly era: number
  /** Null until its receipt has come. */
  outcome: Receipt['result'] | null
  /** For when it is refused: the error feedback as it was before, of its fragment. */
  readonly residualBefore: Values
  readonly fragment: number
}

export type OnBytes = (received: number, total: number) => void

export class LocalReplica {
  readonly engine: SteadyEngine
  readonly #run: RunView
  readonly #weights: GlobalWeights
  readonly #ranges: readonly (readonly ParameterRange[])[]
  /** As the engine last told: while one is being asked for, `#reading` waits for it. */
  readonly #residual: Values
  #reading: Promise<void> = Promise.resolve()
  /** The lease whose end the parameters go on from; null when they are the global weights, or nothing yet. */
  #origin: Origin | null = null
  /** Of each fragment, the global weights that the engine's base holds. */
  #base: string[] = []

  private constructor(engine: SteadyEngine, run: RunView, weights: GlobalWeights) {
    this.engine = engine
    this.#run = run
    this.#weights = weights
    this.#ranges = fragments(modelOf(run.config), run.config.fragments)
    this.#residual = new Float32Array(run.parameters)
  }

  /** With the moments and the error feedback that an earlier visit left for this run. */
  static async open(engine: SteadyEngine, run: RunView, weights: GlobalWeights): Promise<LocalReplica> {
    const replica = new LocalReplica(engine, run, weights)
    const kept = await loadReplica(run.id, run.parameters)
    if (kept?.residual.length === run.parameters) replica.#residual.set(kept.residual)
    await engine.setResidual(replica.#residual)
    if (kept !== null) await engine.setOptimiserState(kept.optimiser)
    return replica
  }

  /** For the request of a lease: null when the next one has to begin at the global weights. */
  get after(): string | null {
    return this.#origin?.outcome === 'rejected' ? null : (this.#origin?.lease ?? null)
  }

  /** Whether this lease's steps follow the last one's without a round between them. */
  goesOnWith(lease: Lease): boolean {
    return this.#origin?.era === lease.era && this.#origin.round === lease.round - 1
  }

  /**
   * Fetches what separates the base from a round's global weights; what it answers puts them in place, between two
   * jobs. `anew`: the parameters become the global weights; otherwise what was trained since the last contribution is
   * carried over, and if that one was refused, only that.
   */
  async prepare(
    weights: readonly FragmentView[],
    { anew, signal, onBytes }: { anew: boolean; signal: AbortSignal; onBytes: OnBytes },
  ): Promise<() => Promise<void>> {
    const all = anew || this.#base.length === 0 || this.#origin?.outcome === 'rejected'
    const wanted = weights.flatMap((view, index) => (all || view.hash !== this.#base[index] ? [index] : []))
    const values = await this.#fetch(weights, wanted, signal, onBytes)
    return async () => {
      if (anew) await this.#begin(values)
      else for (const [index, part] of values) await this.engine.carryOver(part, this.#rangesOf(index))
      this.#base = weights.map(({ hash }) => hash)
    }
  }

  /** Values of a lease's contribution. */
  parametersOf({ fragment }: Lease): number {
    return this.#rangesOf(fragment).reduce((sum, { size }) => sum + size, 0)
  }

  /** The bytes of the lease's contribution; from here on the parameters are its end. */
  async contribution({
    id,
    round,
    era,
    fragment,
    codec,
    errorFeedback,
  }: Lease): Promise<Uint8Array<ArrayBuffer>> {
    const ranges = this.#rangesOf(fragment)
    await this.#reading
    const before = gathered(this.#residual, ranges).slice()
    const bytes = await this.engine.contribution({ codec, fragment: ranges, decay: errorFeedback })
    this.#origin = { lease: id, round, era, outcome: null, residualBefore: before, fragment }
    this.#reading = this.#readAndKeep(ranges, round + 1)
    return bytes
  }

  /** What became of a contribution. A refused one takes its error feedback back. */
  settle({ lease, result }: Receipt): void {
    const origin = this.#origin
    if (origin?.lease !== lease) return
    origin.outcome = result
    if (result !== 'rejected') return
    const ranges = this.#rangesOf(origin.fragment)
    this.#reading = this.#reading
      .then(() => this.engine.setResidual(origin.residualBefore, ranges))
      .then(() => scatter(origin.residualBefore, ranges, this.#residual))
      .catch(() => undefined) // the engine is no more, and whoever asks it next hears why
  }

  /** The parameters are of no use: the next lease begins at the global weights. */
  drop(): void {
    this.#origin = null
  }

  /** While the bytes travel: nobody waits for it but the next contribution. */
  async #readAndKeep(ranges: readonly ParameterRange[], round: number): Promise<void> {
    try {
      scatter(await this.engine.getResidual(ranges), ranges, this.#residual)
    } catch {
      return // the engine is no more, and whoever asks it next hears why
    }
    this.#keep(round)
  }

  async #fetch(
    weights: readonly FragmentView[],
    wanted: readonly number[],
    signal: AbortSignal,
    onBytes: OnBytes,
  ) {
    const values = new Map<number, Values>()
    const total = wanted.reduce((sum, index) => sum + (weights[index]?.bytes ?? 0), 0)
    let before = 0
    for (const index of wanted) {
      const view = weights[index] as FragmentView // wanted are indices of weights
      const parameters = this.#rangesOf(index).reduce((sum, { size }) => sum + size, 0)
      const show = (received: number) => onBytes(before + received, total)
      values.set(index, await this.#weights.fragment(index, view, parameters, signal, show))
      before += view.bytes
    }
    return values
  }

  async #begin(values: ReadonlyMap<number, Values>): Promise<void> {
    const whole = new Float32Array(this.#run.parameters)
    for (const [index, part] of values) scatter(part, this.#rangesOf(index), whole)
    await this.engine.setParameters(whole)
    this.#origin = null
  }

  /** In the background: should it fail, the next visit begins with fresh moments. */
  #keep(round: number): void {
    const optimiser = this.engine.keptOptimiserState
    if (optimiser === null) return
    void saveReplica({ run: this.#run.id, round, residual: this.#residual.slice(), optimiser })
  }

  #rangesOf(index: number): readonly ParameterRange[] {
    return this.#ranges[index] ?? []
  }
}
