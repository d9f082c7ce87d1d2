/** What adds up while the process lives: counters and histograms, from 0 at every start, as Prometheus expects. */
import { Counter, Histogram, type Registry } from 'prom-client'
import { REJECTION_REASONS, ROUND_PHASES } from '../../shared/protocol/run.ts'
import type { Effect, LeaseEnd } from '../rounds/events.ts'
import type { RunsObserver } from '../runs/observer.ts'
import { PhaseClock } from './phases.ts'

/** A row for each, so that the compiler names one that is forgotten. */
const LEASE_ENDS: Record<LeaseEnd, true> = {
  accepted: true,
  refused: true,
  released: true,
  orphaned: true,
  removed: true,
  closed: true,
  'rolled-back': true,
}
const PHASE_BUCKETS = [0.1, 0.5, 1, 5, 15, 60, 300, 900, 3_600, 14_400, 86_400]

export function openCounters(registry: Registry): RunsObserver {
  const counters = { ...traffic(registry), ...work(registry), ...evaluations(registry) }
  const phases = new PhaseClock()
  return {
    committed({ effects, ...commit }) {
      for (const effect of effects) count(counters, effect)
      for (const { phase, seconds } of phases.passed(commit)) counters.phases.observe({ phase }, seconds)
    },
    evaluated(seconds) {
      counters.phases.observe({ phase: 'evaluating' }, seconds)
      counters.evaluations.inc({ result: 'done' })
    },
    evaluationFailed: () => counters.evaluations.inc({ result: 'failed' }),
    sliceAnswered: (result) => counters.slices.inc({ result }),
    answered(receipt) {
      if (receipt.result === 'rejected') counters.contributions.inc(rejected(receipt.reason))
      else if (!receipt.repeated) counters.contributions.inc(ACCEPTED)
    },
    arrived: (bytes) => counters.uploaded.inc(bytes),
    sent: (bytes) => counters.downloaded.inc(bytes),
  }
}

function count(counters: ReturnType<typeof work>, effect: Effect): void {
  switch (effect.type) {
    case 'accepted':
      counters.tokens.inc(effect.contribution.tokens)
      counters.steps.inc(effect.contribution.steps)
      counters.bytes.inc(effect.contribution.bytes)
      return
    case 'lease-ended':
      counters.leases.inc({ end: effect.end })
      return
    case 'round-closed':
      counters.rounds.inc()
      return
    case 'granted':
    case 'wait':
    case 'refused': // its receipt is counted
    case 'merge':
    case 'rolled-back':
      return
    default:
      effect satisfies never
  }
}

const ACCEPTED = { result: 'accepted', reason: 'none' }
const rejected = (reason: (typeof REJECTION_REASONS)[number]) => ({ result: 'rejected', reason })

function traffic(registry: Registry) {
  const registers = [registry]
  return {
    uploaded: new Counter({
      name: 'potluck_upload_bytes_total',
      help: 'Bytes of contributions that arrived from volunteers, those of refused and broken-off uploads included.',
      registers,
    }),
    downloaded: new Counter({
      name: 'potluck_download_bytes_total',
      help: 'Bytes of weights, deltas and training data that were sent to volunteers; of a broken-off download, those that were on their way.',
      registers,
    }),
  }
}

function work(registry: Registry) {
  const registers = [registry]
  const contributions = new Counter({
    name: 'potluck_contributions_total',
    help: 'Answers to contributions that volunteers sent, by result; a refused one has the reason. One sent again after it was accepted is not counted again.',
    labelNames: ['result', 'reason'],
    registers,
  })
  contributions.inc(ACCEPTED, 0)
  for (const reason of REJECTION_REASONS) contributions.inc(rejected(reason), 0)
  return { contributions, leases: leasesEnded(registry), phases: phaseSeconds(registry), ...sums(registry) }
}

function evaluations(registry: Registry) {
  const registers = [registry]
  const evaluations = new Counter({
    name: 'potluck_evaluations_total',
    help: 'Evaluations of a round on the held-out text, by how they ended; one that a newer round replaced is not counted.',
    labelNames: ['result'],
    registers,
  })
  for (const result of ['done', 'failed']) evaluations.inc({ result }, 0)
  const slices = new Counter({
    name: 'potluck_evaluation_slices_total',
    help: 'Slices of evaluations that volunteers measured, by what became of the answer: taken, refused, or odd (it was taken, and two others agree on another sum).',
    labelNames: ['result'],
    registers,
  })
  for (const result of ['taken', 'refused', 'odd']) slices.inc({ result }, 0)
  return { evaluations, slices }
}

const sums = (registry: Registry) => ({
  rounds: new Counter({
    name: 'potluck_rounds_closed_total',
    help: 'Rounds whose contributions were merged into the model.',
    registers: [registry],
  }),
  tokens: new Counter({
    name: 'potluck_accepted_tokens_total',
    help: 'Tokens that accepted contributions were trained on.',
    registers: [registry],
  }),
  steps: new Counter({
    name: 'potluck_accepted_inner_steps_total',
    help: 'Optimizer steps that volunteers took in accepted contributions.',
    registers: [registry],
  }),
  bytes: new Counter({
    name: 'potluck_accepted_bytes_total',
    help: 'Bytes of accepted contributions, each counted once.',
    registers: [registry],
  }),
})

function leasesEnded(registry: Registry) {
  const leases = new Counter({
    name: 'potluck_leases_ended_total',
    help: 'Leases (pieces of work given to one volunteer) that ended, by how: accepted, refused for its content, released by the tab, orphaned because the tab was gone too long, removed with its volunteer, closed with its round, or rolled back with it.',
    labelNames: ['end'],
    registers: [registry],
  })
  for (const end of Object.keys(LEASE_ENDS)) leases.inc({ end }, 0)
  return leases
}

function phaseSeconds(registry: Registry) {
  const phases = new Histogram({
    name: 'potluck_phase_seconds',
    help: 'How long rounds spent gathering volunteers, training, and merging, pauses not counted; and how long evaluations took.',
    labelNames: ['phase'],
    buckets: PHASE_BUCKETS,
    registers: [registry],
  })
  for (const phase of [...ROUND_PHASES, 'evaluating']) phases.zero({ phase })
  return phases
}
