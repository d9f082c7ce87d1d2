/**
 * The evaluation thread's tasks: held-out loss and a sample of text, with the same engine that volunteers use, on
 * wasm. Keeps the engine and the validation tokens of the last corpus, because rounds come one after another.
 */
import { bytesToFloats } from '../../shared/codec/floats.ts'
import { type CorpusManifest, manifestFromBytes } from '../../shared/corpus/manifest.ts'
import { decodeShard } from '../../shared/corpus/shard.ts'
import type { Engine } from '../../shared/engine/engine.ts'
import { createTfjsEngine } from '../../shared/engine/tfjs/createTfjsEngine.ts'
import { nodeWasmPaths } from '../../shared/engine/tfjs/nodeWasmPaths.ts'
import type { ModelConfig } from '../../shared/model/config.ts'
import { fragments } from '../../shared/model/layout.ts'
import { tokenizerFromJSON } from '../../shared/tokenizer/json.ts'
import type { Tokenizer } from '../../shared/tokenizer/tokenizer.ts'
import { openFileBlobStore } from '../store/fileBlobs.ts'
import type { Evaluated } from '../store/metadata.ts'
import { byteCount, evenly } from './heldOut.ts'

export interface EvaluationTask {
  /** Folder of the public blobs. */
  readonly blobs: string
  readonly config: ModelConfig
  /** Hashes of the fragments. */
  readonly weights: readonly string[]
  readonly manifest: string
  /** Seeds the sample of text. */
  readonly seed: string
}

/** Tokens measured a round: the same ones every time, spread evenly over all validation documents. */
const HELD_OUT_TOKENS = 25_600
const SAMPLE = { tokens: 80, temperature: 0.8, topK: 40 }

interface Ready {
  readonly key: string
  readonly engine: Engine
  readonly tokenizer: Tokenizer
  readonly heldOut: Uint16Array
  readonly bytes: number
}
let ready: Ready | null = null

export async function evaluate(task: EvaluationTask): Promise<Evaluated> {
  const store = await openFileBlobStore(task.blobs)
  const { engine, tokenizer, heldOut, bytes } = await prepare(task)
  for (const [i, ranges] of fragments(task.config, task.weights.length).entries()) {
    engine.setParameters(bytesToFloats(await store.get(task.weights[i] as string)), ranges) // one hash a fragment
  }
  const { nats, tokens } = await engine.evaluate(heldOut)
  const written = await engine.generate([tokenizer.endOfText], { ...SAMPLE, seed: task.seed })
  return {
    valLoss: nats / tokens,
    bitsPerByte: nats / Math.LN2 / bytes,
    sample: readable(tokenizer.decode(written.slice(1).filter((id) => id !== tokenizer.endOfText))),
  }
}

/** Broken UTF-8 and control characters of an unlearned model are no text to show. */
const readable = (text: string): string => text.replace(/[\uFFFD\p{Cc}]+/gu, ' ')

async function prepare(task: EvaluationTask): Promise<Ready> {
  const key = JSON.stringify([task.config, task.manifest])
  if (ready?.key === key) return ready
  ready?.engine.dispose()
  ready = null
  const store = await openFileBlobStore(task.blobs)
  const manifest = manifestFromBytes(await store.get(task.manifest))
  const tokenizer = tokenizerFromJSON(await store.get(manifest.tokenizer))
  const heldOut = evenly(
    await validationTokens(manifest, task.blobs),
    manifest.sequenceLength + 1,
    HELD_OUT_TOKENS,
  )
  const bytes = byteCount(heldOut, manifest.sequenceLength + 1, tokenizer)
  const engine = await createTfjsEngine({ backend: 'wasm', config: task.config, wasmPaths: nodeWasmPaths() })
  ready = { key, engine, tokenizer, heldOut, bytes }
  return ready
}

async function validationTokens(manifest: CorpusManifest, blobs: string): Promise<Uint16Array> {
  const store = await openFileBlobStore(blobs)
  const shards: Uint16Array[] = []
  for (const { hash, sequences } of manifest.validation) {
    shards.push(decodeShard(await store.get(hash), { ...manifest, sequences }))
  }
  const all = new Uint16Array(shards.reduce((sum, shard) => sum + shard.length, 0))
  let at = 0
  for (const shard of shards) {
    all.set(shard, at)
    at += shard.length
  }
  return all
}
