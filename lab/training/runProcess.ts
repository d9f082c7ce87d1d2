/** The process in which workshop.ts has runs done: one engine at a time, kept while the model stays the same. */

import type { Engine } from '../../shared/engine/engine.ts'
import { createTfjsEngine } from '../../shared/engine/tfjs/createTfjsEngine.ts'
import { nodeWasmPaths } from '../../shared/engine/tfjs/nodeWasmPaths.ts'
import { type Corpus, type CorpusPlace, loadCorpus } from '../common/corpus.ts'
import { serve } from '../common/processes.ts'
import { simulate } from './simulate.ts'
import type { Outcome, Spec } from './spec.ts'

export interface RunTask {
  readonly place: CorpusPlace
  readonly spec: Spec
}

let corpus: { key: string; value: Corpus } | null = null
let engine: { key: string; value: Engine } | null = null

async function play({ place, spec }: RunTask): Promise<Outcome> {
  const wanted = JSON.stringify([place, spec.heldOutTokens])
  if (corpus?.key !== wanted) corpus = { key: wanted, value: await loadCorpus(place, spec.heldOutTokens) }
  const model = JSON.stringify(spec.model)
  if (engine?.key !== model) {
    engine?.value.dispose()
    engine = { key: model, value: await open(spec) }
  }
  return simulate(engine.value, corpus.value, spec)
}

const open = ({ model }: Spec) =>
  createTfjsEngine({ backend: 'wasm', config: model, wasmPaths: nodeWasmPaths() })

serve(play)
