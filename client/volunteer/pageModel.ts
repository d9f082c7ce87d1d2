/** Which page to draw, which buttons work, and what stopping would cost: judgements about a SwarmView, pure. */
import { CODECS } from '../../shared/codec/codec.ts'
import type { RunView } from '../../shared/protocol/run.ts'
import type { SwarmView } from '../swarm/view.ts'
import { duration } from '../ui/format.ts'
import { strings } from '../ui/strings.ts'
import { tokensPerStep } from './stateText.ts'

/** Before the click the page explains and asks; from then on it shows the work, also after Stop. */
export const showsWork = (view: SwarmView) =>
  view.contributing || view.state.kind === 'stopped' || view.me.steps > 0

export interface Enabled {
  readonly start: boolean
  readonly pause: boolean
  readonly resume: boolean
  readonly finish: boolean
  readonly stop: boolean
}

export function enabledControls(view: SwarmView): Enabled {
  const { kind } = view.state
  const cannotTrain = kind === 'insecure' || kind === 'unsupported' || kind === 'removed'
  const active = view.contributing && !cannotTrain
  const inRound = kind === 'training' || kind === 'ahead' || kind === 'sending' || kind === 'checking'
  const holdsWork = 'heldLease' in view.state && view.state.heldLease
  return {
    start: !view.contributing && !cannotTrain,
    pause: active && kind !== 'paused',
    resume: active && kind === 'paused',
    finish: active && (inRound || holdsWork || view.finishing),
    stop: active,
  }
}

/** What Stop would throw away, as it stands in the question; null when nothing is lost. */
export function lostWork({ state, run, upload }: SwarmView): string | null {
  const words = strings.volunteer.running
  if (state.kind === 'training' && state.step > 0) {
    if (run === null || state.tokensPerSecond <= 0) return words.stopWorkSteps(state.step)
    const milliseconds = (state.step * tokensPerStep(run.config) * 1_000) / state.tokensPerSecond
    return words.stopWorkTime(state.step, duration(milliseconds))
  }
  if ('heldLease' in state && state.heldLease) return words.stopWork
  const finished = state.kind === 'ahead' || state.kind === 'sending' || state.kind === 'checking'
  return finished || upload !== null ? words.stopWork : null
}

export const mergedRounds = (run: RunView) => run.history.at(-1)?.round ?? 0

/** Newest first; the untrained model's text has round 0. */
export function samplesOf(run: RunView | null) {
  const samples = [...(run?.samples ?? [])].sort((a, b) => b.round - a.round)
  return { newest: samples[0] ?? null, untrained: samples.find((sample) => sample.round === 0) ?? null }
}

/** Of a round, on average over the fragments. */
export const uploadBytes = ({ config, parameters }: RunView) =>
  CODECS[config.codec].byteLength(parameters) / config.fragments
export const downloadBytes = ({ config, parameters }: RunView) =>
  CODECS[config.downlink].byteLength(parameters) / config.fragments
/** The weights whole, as they come the first time. */
export const snapshotBytes = ({ parameters }: RunView) => 4 * parameters
