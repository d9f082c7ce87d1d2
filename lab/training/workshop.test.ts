import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { SILENT } from '../common/report.ts'
import { baseSpec, scaleOf } from './scale.ts'
import { Workshop } from './workshop.ts'

it('[T9] a workshop trains on the embedded corpus, in processes, each run once', {
  timeout: 120_000,
}, async () => {
  const scale = scaleOf({ tiny: true, quick: false, seeds: null })
  const [model] = scale.models
  if (!model) throw new Error('The ladder is empty.')
  const folder = await mkdtemp(join(tmpdir(), 'potluck-workshop-test-'))
  const lines: string[] = []
  const voice = { ...SILENT, tell: (text: string) => void lines.push(text) }
  const options = { out: folder, cache: join(folder, 'runs.jsonl'), jobs: 2 }
  try {
    const workshop = await Workshop.open(options, voice)
    const specs = [null, 2].map((replicas) => ({
      ...baseSpec(scale, model, replicas, 'int8'),
      innerLearningRate: 0.03,
    }))
    const wanted = [...specs, ...specs]
    const outcomes = await Promise.all(wanted.map((spec) => workshop.run(spec)))
    workshop.close()
    expect(outcomes.slice(2)).toEqual(outcomes.slice(0, 2))
    // Knowing nothing of 300 tokens is 5.7 nats.
    for (const { loss } of outcomes) expect(loss).toBeLessThan(Math.log(300))
    expect(lines).toHaveLength(2)
    const again = await Workshop.open(options, voice)
    expect(await Promise.all(specs.map((spec) => again.run(spec)))).toEqual(outcomes.slice(0, 2))
    again.close()
    expect(lines).toHaveLength(2)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})
