/**
 * What stands now: asked of Runs at every scrape, so it is right at once after a restart. What is not known, such as
 * the loss before the first evaluation, has no sample.
 */
import { Gauge, type Registry } from 'prom-client'
import { timesLess } from '../../shared/diloco/traffic.ts'
import type { RoundSummary } from '../../shared/protocol/run.ts'
import type { Runs } from '../runs/runs.ts'

export function openGauges(registry: Registry, runs: Runs): void {
  const gauge = (name: string, help: string, value: () => number | null) =>
    new Gauge({
      name: `potluck_${name}`,
      help,
      registers: [registry],
      collect() {
        const known = value()
        if (known === null) this.remove()
        else this.set(known)
      },
    })
  const gaugeBy = (name: string, help: string, label: string, values: () => Values) =>
    new Gauge({
      name: `potluck_${name}`,
      help,
      labelNames: [label],
      registers: [registry],
      collect() {
        this.reset()
        for (const [key, value] of Object.entries(values())) {
          if (value !== null) this.set({ [label]: key }, value)
        }
      },
    })
  runGauges(gauge, gaugeBy, runs)
  trafficGauges(gaugeBy, runs)
  peopleGauges(gauge, runs)
}

/** By the label's value. */
type Values = Readonly<Record<string, number | null>>
type MakeGauge = (name: string, help: string, value: () => number | null) => void
type MakeGaugeBy = (name: string, help: string, label: string, values: () => Values) => void

function runGauges(gauge: MakeGauge, gaugeBy: MakeGaugeBy, runs: Runs): void {
  gauge(
    'round',
    'The round under way, counting from 1; after the last one, one more than there are.',
    () => runs.machine?.round ?? null,
  )
  gaugeBy(
    'leases_open',
    'Leases (pieces of work given to one volunteer) being worked on, for the current round or the one ahead of it.',
    'round',
    () => openLeases(runs),
  )
  gauge(
    'held_out_loss',
    'Cross entropy on text that nobody trains on, in nats a token, after the newest round that was evaluated (of the untrained model before that). Lower is better.',
    () => newestEvaluation(runs)?.loss ?? null,
  )
  gauge(
    'held_out_perplexity',
    'The exponential of potluck_held_out_loss: among how many equally likely tokens the model is as good as guessing.',
    () => mapped(newestEvaluation(runs)?.loss, Math.exp),
  )
  gauge(
    'held_out_bits_per_byte',
    'The same cross entropy in bits for a byte of text, which compares models of different tokenizers.',
    () => newestEvaluation(runs)?.bits ?? null,
  )
  gauge(
    'evaluated_round',
    'The newest round that was evaluated; 0 is the untrained model.',
    () => newestEvaluation(runs)?.round ?? null,
  )
  gaugeBy(
    'evaluation_slices_open',
    'Slices of the evaluation that volunteers measure now: agreed upon by two, and those still to be.',
    'state',
    () => openSlices(runs),
  )
}

function trafficGauges(gaugeBy: MakeGaugeBy, runs: Runs): void {
  gaugeBy(
    'last_round_bytes',
    'Bytes of the newest closed round, of all volunteers together: of its accepted contributions (up), and of blobs sent while it lasted (down).',
    'direction',
    () => eachWay(runs.rounds.at(-1), () => 1),
  )
  gaugeBy(
    'last_round_volunteer_bytes',
    'The same bytes divided by the contributions that the round merged: what one volunteer sent (up) and received (down), on average.',
    'direction',
    () => eachWay(runs.rounds.at(-1), ({ replicas }) => replicas),
  )
  gaugeBy(
    'data_parallel_traffic_ratio',
    'How many times as many bytes data-parallel training would have sent for the same steps, with a 16-bit gradient up and down for each: in the newest closed round, and in all rounds of the run.',
    'over',
    () => ratios(runs),
  )
}

function peopleGauges(gauge: MakeGauge, runs: Runs): void {
  gauge('volunteers_connected', 'Volunteers with the page open.', () => runs.roster.all().length)
  gauge(
    'volunteers_present',
    'Volunteers with the page open who take part now.',
    () => runs.machine?.present.size ?? 0,
  )
  gauge(
    'volunteer_utilisation_ratio',
    'Share of their time, 0 to 1, that tabs spend in optimizer steps; the mean of what those connected report.',
    () => mean(runs.roster.all().flatMap(({ utilisation }) => utilisation ?? [])),
  )
}

function openLeases({ machine }: Runs): Values {
  const current = machine?.leases.countOf(machine.round) ?? 0
  return { current, ahead: (machine?.leases.size ?? 0) - current }
}

function newestEvaluation(runs: Runs): { round: number; loss: number | null; bits: number | null } | null {
  const measured = runs.rounds.filter(({ valLoss }) => valLoss !== null).at(-1)
  if (measured) return { round: measured.round, loss: measured.valLoss, bits: measured.bitsPerByte }
  const view = runs.view()
  if (view === null || view.initialValLoss === null) return null
  return { round: 0, loss: view.initialValLoss, bits: view.initialBitsPerByte }
}

const mapped = (value: number | null | undefined, by: (value: number) => number): number | null =>
  value == null ? null : by(value)

function openSlices({ slices }: Runs): Values {
  const { view } = slices
  return view === null ? {} : { settled: view.settled, open: view.slices - view.settled }
}

function eachWay(round: RoundSummary | undefined, shares: (round: RoundSummary) => number): Values {
  if (round === undefined) return {}
  return { up: round.bytesUp / shares(round), down: round.bytesDown / shares(round) }
}

function ratios({ rounds, machine }: Runs): Values {
  const last = rounds.at(-1)
  if (last === undefined || machine === null) return {}
  const sum = (of: (round: RoundSummary) => number) => rounds.reduce((total, round) => total + of(round), 0)
  const all = {
    steps: sum(({ steps }) => steps),
    bytesUp: sum(({ bytesUp }) => bytesUp),
    bytesDown: sum(({ bytesDown }) => bytesDown),
  }
  return { last_round: timesLess(last, machine.parameters), run: timesLess(all, machine.parameters) }
}

const mean = (values: readonly number[]): number | null =>
  values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length
