/**
 * One tab alone, start to receipt: tokens a second inside inner steps, and its utilisation, the share of its time since
 * the first step that went into them. Real coordinator, real headless tab, the fastest backend it finds.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'vite'
import { readConfig } from '../../coordinator/config.ts'
import { startCoordinator } from '../../coordinator/coordinator.ts'
import type { PresetName } from '../../shared/model/config.ts'
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
  const told = new Map<number, { speed: number; utilisation: number }>()
  await runs.act('start')
  await until(() => {
    const live = runs.roster.all()[0]
    const view = runs.view()
    // What the tab says of the lease it has just finished, before it goes on.
    if (live?.step === innerSteps && live.tokensPerSecond && live.utilisation !== null && view)
      told.set(view.round, { speed: live.tokensPerSecond, utilisation: live.utilisation })
    return view?.status === 'completed'
  })
  const rows = (runs.view()?.history ?? []).map((round) => rowOf(preset, round, told.get(round.round)))
  await tabs.close()
  await stop()
  await rm(folder, { recursive: true, force: true })
  return rows
}

function rowOf(
  preset: PresetName,
  round: RoundSummary,
  told: { speed: number; utilisation: number } | undefined,
) {
  const { seconds, bytesUp, bytesDown } = round
  const rounded = (value: number | undefined, digits: number) =>
    value === undefined ? null : Number(value.toFixed(digits))
  return {
    preset,
    round: round.round,
    tokensPerSecond: rounded(told?.speed, 0),
    seconds: rounded(seconds, 2),
    utilisation: rounded(told?.utilisation, 3),
    bytesUp,
    bytesDown,
  }
}

async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
}
