/**
 * One tab alone, start to receipt: tokens a second inside inner steps, and the round's overhead, the share of a
 * round's time outside them. Real coordinator, real headless tab, the fastest backend it finds.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'vite'
import { readConfig } from '../../coordinator/config.ts'
import { startCoordinator } from '../../coordinator/coordinator.ts'
import { PRESETS, type PresetName } from '../../shared/model/config.ts'
import { defaultRunConfig } from '../../shared/protocol/defaults.ts'
import type { RoundSummary } from '../../shared/protocol/run.ts'
import { openTabs } from '../demo/tabs.ts'

/** Enough steps that a round lasts some seconds on a CPU. */
const CASES: { preset: PresetName; innerSteps: number; rounds: number }[] = [
  { preset: 'nano', innerSteps: 100, rounds: 4 },
  { preset: 'micro', innerSteps: 15, rounds: 3 },
]
const LOOK_MS = 20

export async function measureTab(): Promise<object[]> {
  await build({ logLevel: 'error' })
  const rows: object[] = []
  for (const one of CASES) rows.push(...(await measureCase(one)))
  return rows
}

async function measureCase({ preset, innerSteps, rounds }: (typeof CASES)[number]): Promise<object[]> {
  const folder = await mkdtemp(join(tmpdir(), 'potluck-bench-'))
  const environment = { POTLUCK_DATA: folder, POTLUCK_PORT: '0', POTLUCK_LOG: 'error' }
  const { runs, url, stop } = await startCoordinator(readConfig(environment))
  const config = {
    ...defaultRunConfig(preset),
    innerSteps,
    rounds,
    replicas: 1,
    quorum: 1,
    deadlineSeconds: 3_600,
    strict: true,
  }
  await runs.create(config)
  await until(() => runs.view()?.initialValLoss != null)
  const tabs = await openTabs(url, 1)
  const speeds = new Map<number, number>()
  await runs.act('start')
  await until(() => {
    const live = runs.roster.all()[0]
    const view = runs.view()
    // What the tab says of the lease it has just finished, before it goes on.
    if (live?.step === innerSteps && live.tokensPerSecond && view)
      speeds.set(view.round, live.tokensPerSecond)
    return view?.status === 'completed'
  })
  const tokens = innerSteps * config.batchSize * PRESETS[preset].sequenceLength
  const rows = (runs.view()?.history ?? []).map((round) =>
    rowOf(preset, round, tokens, speeds.get(round.round)),
  )
  await tabs.close()
  await stop()
  await rm(folder, { recursive: true, force: true })
  return rows
}

function rowOf(preset: PresetName, round: RoundSummary, tokens: number, speed: number | undefined) {
  const { seconds, bytesUp, bytesDown } = round
  const overhead = speed === undefined ? null : 1 - tokens / speed / seconds
  const rounded = (value: number | null, digits: number) =>
    value === null ? null : Number(value.toFixed(digits))
  return {
    preset,
    round: round.round,
    tokensPerSecond: rounded(speed ?? null, 0),
    seconds: rounded(seconds, 2),
    overhead: rounded(overhead, 3),
    bytesUp,
    bytesDown,
  }
}

async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
}
